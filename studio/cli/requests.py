"""What was typed, as a request; its faults as sentences."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from studio.core.base import Record
from studio.core.errors import InvalidRequest

Request = TypeVar("Request", bound=Record)


def read_request(kind: type[Request], command: str, **fields: Any) -> Request:
    """
    Args:
        command: the words after `easel` whose help explains the fields.

    Raises: InvalidRequest, with every fault of the fields in one sentence each.
    """
    try:
        return kind(**fields)
    except ValidationError as error:
        from studio.api.errors import invalid_request  # FastAPI takes its time, and only a fault needs it

        raise InvalidRequest(str(invalid_request(error.errors())), f"See: easel {command} --help") from error
