"""A second device that is really main memory: `far:0`, for a machine without a GPU.

Its tensors know that they lie elsewhere. As on a GPU, an operation on tensors of both devices fails, numbers
have to be fetched, and what is moved is copied; what is computed is what the processor computes, to the last
bit. Torch keeps a type of device for such purposes. It is registered once in a process, and for good.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "far"
_HOST = torch.device("cpu")
_MIXING = frozenset(
    {
        torch.ops.aten._to_copy.default,
        torch.ops.aten.copy_.default,
        torch.ops.aten.index.Tensor,
        torch.ops.aten.index_put_.default,
    }
)
"""May be given tensors of both devices, on a GPU too: copies, and indices."""


class FarTensor(torch.Tensor):
    """A tensor on the second device; `near` is where its numbers are."""

    near: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, near: torch.Tensor) -> FarTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, near: torch.Tensor) -> None:
        self.near = near

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_torchs_tensor(index) if isinstance(index, list) else index)

    @classmethod
    def __torch_dispatch__(cls, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def register() -> None:
    """Make the device known to torch in this process."""
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda func, *args, **kwargs: _run(func, args, kwargs), "PrivateUse1")
    _libraries.append(library)
    torch.tensor = _tensor
    torch.inference_mode = lambda mode=True: (
        torch.no_grad()
    )  # a tensor around a tensor cannot be of that mode


_torchs_tensor = torch.tensor


def _tensor(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
    """`torch.tensor` makes the tensor past all dispatch, which such a device does not survive."""
    made = _torchs_tensor(data, **kwargs)
    return made if device is None else made.to(device)


_libraries: list[torch.library.Library] = []
"""What a library registers lives as long as it does."""


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.aten._fused_sdp_choice.default:
        return 0  # plain mathematics, which every device can do
    if func is torch.ops.aten._has_compatible_shallow_copy_type.default:
        return False
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    far = {id(tensor.near): tensor for tensor in tensors if isinstance(tensor, FarTensor)}
    near = [tensor for tensor in tensors if not isinstance(tensor, FarTensor)]
    if far and func not in _MIXING and any(tensor.dim() for tensor in near):
        raise RuntimeError(f"{func} was given tensors on two devices")
    wanted = kwargs.get("device")
    result = func(
        *tree_map(_near, args), **{name: _on_host(tree_map(_near, kwargs[name])) for name in kwargs}
    )
    if func is torch.ops.aten.copy_.default:
        return args[0]
    if torch.device(wanted).type != NAME if wanted is not None else not far:
        return result
    return tree_map(lambda one: _far(one, far), result)


def _near(one: Any) -> Any:
    return one.near if isinstance(one, FarTensor) else one


def _on_host(argument: Any) -> Any:
    return _HOST if isinstance(argument, torch.device) else argument


def _far(one: Any, known: dict[int, Any]) -> Any:
    """The far tensor of `one`; what was changed in place is the tensor that it was."""
    if not isinstance(one, torch.Tensor):
        return one
    return known[id(one)] if id(one) in known else FarTensor(one)
