"""The nets that a preprocessor has borrowed, and what it may ask of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.core.annotator_nets import Net
from studio.core.errors import NotFound
from studio.models.annotators import processor_of

if TYPE_CHECKING:
    import torch

    from studio.models.components import ComponentRef
    from studio.models.manager import Lease


@dataclass(frozen=True)
class BorrowedNet:
    """One net on the device, for as long as the lease lasts."""

    ref: ComponentRef
    lease: Lease

    @property
    def net(self) -> Net:
        return Net(self.ref.layout)

    @property
    def module(self) -> Any:
        return self.lease.get(self.ref.role)

    @property
    def processor(self) -> Any:
        """Transformers' image processor: how the net wants its pictures, and how its answer is read."""
        return self.lease.derived(self.ref.role, "processor", lambda _: processor_of(self.ref))

    @property
    def device(self) -> torch.device:
        return self.lease.device

    @property
    def labels(self) -> dict[int, str]:
        """What each class that the net knows is called."""
        told = self.ref.config.get("model", {}).get("id2label") or {}
        return {int(index): str(label) for index, label in told.items()}


class Nets:
    """All nets of one preprocessor.

    Args:
        told: told what is going on; raises if the job was cancelled.
    """

    def __init__(
        self,
        lease: Lease | None = None,
        refs: Sequence[ComponentRef] = (),
        told: Callable[[str], None] | None = None,
    ) -> None:
        self._borrowed = [BorrowedNet(ref, lease) for ref in refs if lease]
        self._told = told

    def tell(self, sentence: str) -> None:
        """Between two long pieces of work. Raises: what whoever listens raises to stop it."""
        if self._told is not None:
            self._told(sentence)

    def get(self, *nets: Net) -> BorrowedNet:
        """The borrowed net that is one of `nets`.

        Raises: NotFound: there is none; the facts of the preprocessor do not name it.
        """
        for borrowed in self._borrowed:
            if borrowed.net in nets:
                return borrowed
        raise NotFound(f"This preprocessor has no {' or '.join(nets)}.")
