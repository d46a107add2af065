"""How a preprocessor is described: its names, what its map suits, and the nets that it runs."""

from __future__ import annotations

from pydantic import Field

from studio.core.annotator_nets import Net
from studio.core.base import Record
from studio.core.control_types import ControlType


class Need(Record):
    """A net that a preprocessor runs."""

    nets: tuple[Net, ...] = Field(
        min_length=1, description="any of these will do; the first is the usual one"
    )
    field: str = Field("", description="the option that chooses among the installed ones; empty: none does")
    option: str = Field("", description="only needed where this option ...")
    value: bool = Field(True, description="... has this value")


class Slider(Record):
    """What a client of A1111's API sets through `threshold_a` or `threshold_b`."""

    field: str = Field(description="the option's name here")
    title: str
    minimum: float
    maximum: float
    default: float
    step: float = 1


class Module(Record):
    """A preprocessor as A1111's API names it."""

    name: str
    options: dict[str, bool] = Field({}, description="options that its name stands for")
    threshold_a: Slider | None = None
    threshold_b: Slider | None = None
    aliases: tuple[str, ...] = ()


class PreprocessorFacts(Record):
    kind: str = Field(description="of the options, see `studio.core.preprocess`")
    group: str = Field(description="what it shows; several preprocessors may show the same")
    title: str
    controls: tuple[ControlType, ...] = Field(description="control types that its map suits")
    modules: tuple[Module, ...] = ()
    needs: tuple[Need, ...] = ()

    @property
    def needs_net(self) -> bool:
        return bool(self.needs)
