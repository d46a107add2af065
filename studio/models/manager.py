"""The model manager: the only code that moves weights.

Components (UNet, VAE, text encoders, ...) are cached one by one under the hash of their content, so models
share what they share. A job borrows what it needs with `with manager.lease(refs) as lease:` and asks for
each module when it is about to run it; the manager frees first what was unused for longest, and says so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from studio.core.errors import NotFound, OutOfMemory
from studio.core.models import LoadedComponent
from studio.models.compiling import compilation_told, compile_module
from studio.models.components import ComponentRef, one_a_role
from studio.models.device import Device
from studio.models.load import load_component
from studio.models.packing import pack_weights

_CHANNELS_LAST_ROLES = frozenset({"unet", "vae", "controlnet", "t2i"})
_HEADROOM = 0.05
"""Share of the device's free memory that stays free for torch's own workspaces."""


@dataclass(eq=False)
class _Entry:
    ref: ComponentRef
    module: torch.nn.Module
    size: int
    dtype: torch.dtype
    on_device: bool
    stays: bool = False
    """In main memory: another runtime than torch holds and runs it."""
    leases: int = 0
    last_used: int = 0
    extras: dict[str, object] = field(default_factory=dict)

    @property
    def held(self) -> int:
        """Bytes of main memory that things derived from it take: patched weights, say."""
        return sum(getattr(extra, "size_bytes", 0) for extra in list(self.extras.values()))


class Lease:
    """Components that stay in memory until the lease ends."""

    def __init__(self, manager: ModelManager, entries: dict[str, _Entry], *, lean: bool) -> None:
        self._manager = manager
        self._entries = entries
        self.lean = lean
        """True after an out-of-memory error: only the module being run is on the device."""

    def get(self, role: str, *, working_bytes: int = 0) -> Any:
        """The module of `role` on the device, with `working_bytes` of memory free beside it.

        Raises:
            NotFound: the lease has no such role.
            OutOfMemory: it does not fit, even alone.
        """
        if role not in self._entries:
            raise NotFound(f"This job has no component {role}.")
        return self._manager._place(self._entries[role], working_bytes, alone=self.lean)

    def peek(self, role: str) -> Any:
        """The module of `role` wherever it is now, for a look at its names and shapes."""
        return self._entries[role].module

    def derived(self, role: str, name: str, make: Callable[[Any], Any], *, on_device: bool = True) -> Any:
        """Something computed once from a module (a fitted preview, say) and kept as long as the module is.

        What has a `size_bytes` is counted as main memory that the component takes.

        Args:
            on_device: False where `make` needs no more than a look at the module.
        """
        extras = self._entries[role].extras
        if name not in extras:
            extras[name] = make(self.get(role) if on_device else self.peek(role))
        return extras[name]

    def make_room(self, role: str, size: int) -> None:
        """Free main memory for `size` more bytes that what is derived from `role` is about to take."""
        self._manager._free_ram(size, self._entries[role].ref)

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes of main memory can be taken without freeing anything."""
        return self._manager._has_room(size)

    def digest(self, role: str) -> str:
        """Content hash of a component, for caches of what it computes."""
        return self._entries[role].ref.digest

    @property
    def device(self) -> torch.device:
        return self._manager.device.torch_device

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(self._entries)


class ModelManager:
    """Holds components within a budget of main memory and one of the device's memory.

    `lease` and the leases themselves belong to the one GPU thread; `status` and `unload` may be called
    from any thread.

    Args:
        ram_budget: bytes of main memory that cached weights may take.
        device_budget: bytes of device memory likewise; ignored where the device is the CPU.
        compile: let torch compile UNet, ControlNets and VAE decoder when they are first run.
    """

    def __init__(self, device: Device, *, ram_budget: int, device_budget: int, compile: bool = False) -> None:
        self.device = device
        self._compile = compile
        self._ram_budget = ram_budget
        self._device_budget = ram_budget if device.is_host else device_budget
        self._entries: dict[tuple[str, torch.dtype], _Entry] = {}
        self._tokenizers: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._clock = 0
        self._notes: deque[str] = deque(maxlen=20)
        self._unload_wanted = False

    @contextmanager
    def lease(
        self,
        refs: Sequence[ComponentRef],
        *,
        lean: bool = False,
        loading: Callable[[str], None] | None = None,
    ) -> Iterator[Lease]:
        """Borrow one component for each role of `refs`, once.

        Args:
            refs: of two with one role the later counts.
            lean: keep only the module being run on the device.
            loading: told what is about to be read from disk or compiled, as a sentence.
        """
        entries: dict[str, _Entry] = {}
        try:
            for ref in one_a_role(refs):
                entries[ref.role] = self._borrow(ref, loading)
            with compilation_told(loading) if loading and self._compile else nullcontext():
                yield Lease(self, entries, lean=lean)
        finally:
            with self._lock:
                for entry in entries.values():
                    entry.leases -= 1
                if self._unload_wanted:
                    self.unload()

    def tokenizer(self, ref: ComponentRef) -> Any:
        """A tokenizer; small, so it is kept for good. May be called from any thread."""
        with self._lock:
            if ref.digest not in self._tokenizers:
                self._tokenizers[ref.digest] = load_component(ref, self.device.dtype)
            return self._tokenizers[ref.digest]

    def unload(self) -> None:
        """Drop everything that no lease uses; the rest as soon as its lease ends."""
        with self._lock:
            self._unload_wanted = False
            for entry in list(self._entries.values()):
                if entry.leases:
                    self._unload_wanted = True
                else:
                    self._drop(entry, "you asked for it")
            self.device.release_cached()

    def recover(self) -> None:
        """After an out-of-memory error: take every unused component off the device."""
        with self._lock:
            for entry in self._unused():
                self._move_off(entry, "the device ran out of memory")
            self.device.release_cached()

    def components(self) -> tuple[LoadedComponent, ...]:
        with self._lock:
            return tuple(self._describe(entry) for entry in self._entries.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What was freed lately and why, newest last."""
        with self._lock:
            return tuple(self._notes)

    @property
    def device_bytes(self) -> int:
        """Bytes of weights on the device."""
        with self._lock:
            on_device = [entry for entry in self._entries.values() if entry.on_device]
            held = sum(entry.held for entry in on_device) if self.device.is_host else 0
            return held + sum(entry.size for entry in on_device)

    @property
    def device_budget(self) -> int:
        return self._device_budget

    def _describe(self, entry: _Entry) -> LoadedComponent:
        place = self.device.torch_device if entry.on_device else torch.device("cpu")
        return LoadedComponent(
            role=entry.ref.role,
            model=entry.ref.model,
            size_bytes=entry.size + (entry.held if self.device.is_host else 0),
            device=str(place),
            in_use=entry.leases > 0,
        )

    def _borrow(self, ref: ComponentRef, loading: Callable[[str], None] | None) -> _Entry:
        dtype = self.device.dtype_for(overflows_in_fp16=ref.role == "vae" and ref.overflows_in_fp16)
        entry = self._borrow_cached(ref, dtype)
        if entry is None:
            if loading:
                loading(f"Loading the {ref.title}")
            entry = self._load(ref, dtype)
        return entry

    def _borrow_cached(self, ref: ComponentRef, dtype: torch.dtype) -> _Entry | None:
        with self._lock:
            entry = self._entries.get((ref.digest, dtype))
            if entry is not None:
                entry.leases += 1
                self._touch(entry)
            return entry

    def _load(self, ref: ComponentRef, dtype: torch.dtype) -> _Entry:
        """Read a component from disk, without the lock: others may ask how things are meanwhile.

        It comes into the cache borrowed, so that nobody can drop it before it is used.
        """
        self._free_ram(ref.size_bytes, ref)
        module = load_component(ref, dtype)
        outside = getattr(module, "bytes_outside_torch", 0)
        size = _weight_bytes(module) + outside
        entry = _Entry(ref, module, size, dtype, self.device.is_host, stays=outside > 0, leases=1)
        if self._compile:
            compile_module(module)
        if self.device.is_host and not self._compile:
            from studio.models.time_memory import remember_times  # which imports classes of diffusers

            entry.extras["packed"] = pack_weights(module)
            remember_times(module)
        elif ref.role.split(":")[0] in _CHANNELS_LAST_ROLES:
            entry.module = module.to(memory_format=torch.channels_last)
        with self._lock:
            self._entries[ref.digest, dtype] = entry
            self._touch(entry)
        return entry

    def _place(self, entry: _Entry, working_bytes: int, *, alone: bool) -> torch.nn.Module:
        with self._lock:
            self._touch(entry)
            if entry.on_device or entry.stays:
                return entry.module
            self._free_device(entry, working_bytes, alone=alone)
            try:
                entry.module.to(self.device.torch_device)
            except torch.OutOfMemoryError as error:
                entry.module.to("cpu")
                self.device.release_cached()
                raise self._too_large(entry) from error
            entry.on_device = True
            return entry.module

    def _free_ram(self, needed: int, ref: ComponentRef) -> None:
        """Drop unused components, longest unused first, until `needed` bytes fit into the RAM budget."""
        with self._lock:
            for entry in self._unused():
                if self._has_room(needed):
                    return
                self._drop(entry, f"to make room for the {ref.title}")

    def _has_room(self, size: int) -> bool:
        with self._lock:
            return self._ram_bytes() + size <= self._ram_budget

    def _free_device(self, wanted: _Entry, working_bytes: int, *, alone: bool) -> None:
        reason = f"to make room for the {wanted.ref.title}"
        for entry in self._by_age(e for e in self._entries.values() if e.on_device and e is not wanted):
            if not alone and self._fits(wanted.size + working_bytes):
                return
            self._move_off(entry, reason)

    def _fits(self, needed: int) -> bool:
        within_budget = self.device_bytes + needed <= self._device_budget
        return within_budget and needed <= self.device.free_memory * (1 - _HEADROOM)

    def _ram_bytes(self) -> int:
        if self.device.is_host:
            return self.device_bytes
        entries = self._entries.values()
        return sum(entry.held + (0 if entry.on_device else entry.size) for entry in entries)

    def _unused(self) -> list[_Entry]:
        return self._by_age(entry for entry in self._entries.values() if not entry.leases)

    def _by_age(self, entries: Iterable[_Entry]) -> list[_Entry]:
        return sorted(entries, key=lambda entry: entry.last_used)

    def _move_off(self, entry: _Entry, reason: str) -> None:
        """From the device to main memory, or out altogether where main memory has no room for it."""
        full = self._ram_bytes() + entry.size > self._ram_budget
        if not entry.leases and (self.device.is_host or full):
            self._drop(entry, reason)
        elif entry.on_device and not self.device.is_host:
            entry.module.to("cpu")
            entry.on_device = False
            self._note("Moved", entry, reason)

    def _drop(self, entry: _Entry, reason: str) -> None:
        del self._entries[entry.ref.digest, entry.dtype]
        self._note("Freed", entry, reason)

    def _note(self, verb: str, entry: _Entry, reason: str) -> None:
        self._notes.append(f"{verb} the {entry.ref.title} ({entry.size / 2**20:,.0f} MB): {reason}.")

    def _touch(self, entry: _Entry) -> None:
        self._clock += 1
        entry.last_used = self._clock

    def _too_large(self, entry: _Entry) -> OutOfMemory:
        need, free = entry.size / 2**30, self.device.free_memory / 2**30
        return OutOfMemory(
            f"The {entry.ref.title} needs {need:.1f} GB, but {self.device.name} has {free:.1f} GB free.",
            "Close other programs that use it, or choose a smaller model.",
        )


def _weight_bytes(module: torch.nn.Module) -> int:
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
