"""Fields of a payload that mean nothing here, which a reply must be able to repeat all the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from studio.core.errors import InvalidRequest
from studio.core.texts import storable

MAX_NESTING = 50
"""Lists and objects inside one another. Python reads a thousand of them; what writes JSON gives up before."""


def check_repeatable(fields: Mapping[str, Any]) -> None:
    """Look at all that a client sent, before any work is done whose reply could not be written.

    Raises: InvalidRequest, with the field at fault.
    """
    for name, value in fields.items():
        if storable(name) != name:
            raise _half_a_character("The body", None)
        _check_value(name, value)


def _check_value(name: str, value: Any) -> None:
    level: Collection[Any] = [value]
    for _ in range(MAX_NESTING):
        if any(isinstance(each, str) and storable(each) != each for each in level):
            raise _half_a_character(f"The field {name}", name)
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise InvalidRequest(
        f"Lists and objects may be nested {MAX_NESTING} deep, and the field {name[:60]} holds more of them.",
        "Leave it out, or send less.",
        field=name,
    )


def _inside(value: Any) -> Collection[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else ()


def _half_a_character(place: str, field: str | None) -> InvalidRequest:
    return InvalidRequest(
        f"{place[:80]} holds half of a character (a lone surrogate).",
        "Cut texts between characters only, and send whole ones.",
        field=field,
    )
