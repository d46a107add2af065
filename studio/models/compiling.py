"""Modules that torch compiles at their first call, where the user asked for it: slow once, then faster.

A graph holds for one kind of call: other shapes or arguments, or something attached to the module, make
another one. What changes from picture to picture (weights, strengths, times) has to come as a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_MOST_GRAPHS = 64
"""Of one class of modules. Torch's own 8 are spent in an evening with two models, sizes, ControlNets and
boxes; after them it would run everything uncompiled, and tell only a log."""

_CLASSES = frozenset({"UNet2DConditionModel", "ControlNetModel"})


def compile_module(module: Any) -> None:
    """Mark what takes the time in a picture; weights and file names stay as they are.

    To be called on the thread that will run the module: torch heeds its settings on that thread alone.
    """
    import torch._dynamo

    torch._dynamo.config.recompile_limit = _MOST_GRAPHS
    if type(module).__name__ in _CLASSES:
        module.compile()
    elif type(module).__name__ == "AutoencoderKL":
        module.decoder.compile()


def is_compiled(module: Any) -> bool:
    return getattr(module, "_compiled_call_impl", None) is not None


@contextmanager
def uncompiled(module: Any) -> Iterator[None]:
    """Until the block ends, `module` runs as it is written; compiled code knows nothing of hooks."""
    compiled = getattr(module, "_compiled_call_impl", None)
    module._compiled_call_impl = None
    try:
        yield
    finally:
        module._compiled_call_impl = compiled


@contextmanager
def compilation_told(tell: Callable[[str], None]) -> Iterator[None]:
    """Until the block ends, `tell` hears when torch begins to compile, which can take minutes."""
    from torch._dynamo.callback import callback_handler

    def started(*_: object) -> None:
        tell("Compiling for this kind of picture, once")

    callback_handler.register_start_callback(started)
    try:
        yield
    finally:
        callback_handler.remove_start_callback(started)
