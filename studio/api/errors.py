"""Errors on the wire: one shape for all of them, with sentences a person can act on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.exceptions import HTTPException

from studio.core.base import Record
from studio.core.errors import EaselError, InvalidRequest
from studio.core.events import Failed
from studio.core.preprocess import PREPROCESSORS

_SHOWN_VALUE = 60
"""Characters of a wrong value that a message repeats."""

_SHOWN_ERRORS = 3

_OUTER = frozenset({"body", "query", "path", "header", "generate", "install", "preprocess"})
"""Parts of a pydantic location that say where a field was found, and are no part of its name."""


FieldName = Callable[[str], str]
"""What a caller calls a field of ours."""


class ErrorReply(Record):
    """What every refused or failed call answers."""

    error: str = Field(description="name of the error's class: 'InvalidRequest', 'NotFound', ...")
    message: str = Field(description="problem and remedy, as one text for a person")
    problem: str = Field(description="what was needed and what is there instead")
    remedy: str = Field("", description="what can be done about it")
    field: str | None = Field(None, description="the field of the request at fault, where there is one")


ERROR_SCHEMA = {"$ref": f"#/components/schemas/{ErrorReply.__name__}"}

ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorReply, "description": "What was asked cannot be done; the message says what can."},
    "5XX": {"model": ErrorReply, "description": "The machine lacks something, or Easel is at fault."},
}
"""For the OpenAPI schema of a router."""


def error_reply(error: EaselError) -> ErrorReply:
    """The error as every route answers with it."""
    return ErrorReply(
        error=type(error).__name__,
        message=str(error),
        problem=error.problem,
        remedy=error.remedy,
        field=error.field,
    )


def error_response(error: EaselError, status: int | None = None) -> JSONResponse:
    """The JSON answer for `error`, with the status of its class unless `status` says another."""
    return JSONResponse(error_reply(error).model_dump(), status or error.http_status)


def failure_response(failure: Failed, name: FieldName = str) -> JSONResponse:
    """The JSON answer for a job that failed, with the status that its error's class has.

    Args:
        name: what the caller calls our fields, where it differs.
    """
    reply = ErrorReply(
        error=failure.error,
        message=failure.message,
        problem=failure.problem,
        remedy=failure.remedy,
        field=name(failure.field) if failure.field else None,
    )
    classes = {each.__name__: each for each in _error_classes(EaselError)}
    return JSONResponse(reply.model_dump(), classes.get(failure.error, EaselError).http_status)


def _error_classes(base: type[EaselError]) -> Iterator[type[EaselError]]:
    yield base
    for each in base.__subclasses__():
        yield from _error_classes(each)


def invalid_request(errors: Sequence[Any], name: FieldName = str) -> InvalidRequest:
    """Pydantic's list of errors (`ValidationError.errors()`) as sentences; the field is the first one's.

    Args:
        name: what the caller calls our fields, where it differs.
    """
    errors = [each for each in errors if not _is_consequence(each, errors)]
    fields = [name(field) for field in map(_field, errors)]
    sentences = [_sentence(each, field) for each, field in zip(errors[:_SHOWN_ERRORS], fields, strict=False)]
    if len(errors) > _SHOWN_ERRORS:
        sentences.append(f"{len(errors) - _SHOWN_ERRORS} more fields are wrong.")
    return InvalidRequest(" ".join(sentences), field=fields[0] or None)


def _is_consequence(error: Any, errors: Sequence[Any]) -> bool:
    """A tuple whose entry is wrong is called too short as well; only the entry is worth telling."""
    place = error["loc"]
    inner = (each["loc"] for each in errors if len(each["loc"]) > len(place))
    return error["type"] == "too_short" and any(loc[: len(place)] == place for loc in inner)


def _field(error: Any) -> str:
    if error["type"] == "json_invalid":
        return ""  # its place is a character's number
    parts = list(error["loc"])
    while parts and parts[0] in _OUTER:
        parts.pop(0)
    # pydantic names the member of a union that it tried: preprocessor.canny.low
    parts = [part for before, part in zip(["", *parts], parts, strict=False) if not _is_member(before, part)]
    if error["type"].startswith("union_tag"):
        parts.append("kind")
    return ".".join(map(str, parts))


def _is_member(before: Any, part: Any) -> bool:
    return before == "preprocessor" and part in PREPROCESSORS


def _sentence(error: Any, field: str) -> str:
    subject, context = f"The field {field}" if field else "The body", error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{subject} is missing."
        case "extra_forbidden":
            return f"There is no field {field} here."
        case "union_tag_not_found":
            return f"The field {field} is missing, which says what is asked."
        case "union_tag_invalid":
            return (
                f"The field kind must be one of {context['expected_tags']}, and is {_shown(context['tag'])}."
            )
        case "value_error":  # a rule over several fields, which words itself whole
            rule = _middle(error["msg"])
            is_one_of_many = any(part.isdigit() for part in field.split("."))
            return f"In {field}, {rule}." if is_one_of_many else f"{rule[:1].upper()}{rule[1:]}."
        case "too_long" | "too_short":
            return _counted(error, context)
        case "json_invalid":
            return f"The body is no valid JSON: {context.get('error', error['msg'])}."
    need = _need(error["type"], context) or _middle(error["msg"])
    return f"{subject} {need}, and is {_shown(error.get('input'))}."


def _counted(error: Any, context: dict[str, Any]) -> str:
    """How many entries a list may have, and how many there are; the entries themselves say nothing here."""
    things = next((str(part) for part in reversed(error["loc"]) if isinstance(part, str)), "entries")
    things, there = things.replace("_", " "), context["actual_length"]
    if error["type"] == "too_long":
        return f"At most {context['max_length']} {things}; there are {there or 'more'}."
    return f"There are {there or 'no'} {things}, and at least {context['min_length']} must be there."


def _need(kind: str, context: dict[str, Any]) -> str:
    """What a field needs, after its name; empty for kinds of error that pydantic words well itself."""
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "multiple_of":
            return f"must be a multiple of {context['multiple_of']}"
        case "enum" | "literal_error":
            return f"must be one of {context['expected']}"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_pattern_mismatch":
            return f"must match {context['pattern']}"
        case "model_attributes_type" | "model_type" | "dict_type":
            return "must be a JSON object, sent as application/json"
        case "int_type" | "int_parsing" | "int_from_float":
            return "must be a whole number"
        case "float_type" | "float_parsing" | "finite_number":
            return "must be a number"
        case "string_unicode":  # a lone surrogate, as is left where a text is cut inside an emoji
            return "must be text of whole characters"
    return ""


def _middle(message: str) -> str:
    """Pydantic's own message as the middle of a sentence: 'Input should be ...' -> 'should be ...'."""
    return message.removeprefix("Input ").removeprefix("Value error, ").rstrip(".")


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN_VALUE else f"{text[:_SHOWN_VALUE]}..."


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of `app` an `ErrorReply`."""
    app.add_exception_handler(EaselError, _on_easel_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)


def _on_easel_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EaselError)
    return error_response(error)


def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(invalid_request(error.errors()))


def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if why := _no_json(error.__cause__):
        return error_response(InvalidRequest(f"The body is no valid JSON: {why}."))
    phrase = HTTPStatus(error.status_code).phrase
    reply = ErrorReply(error=phrase.replace(" ", ""), message=str(error.detail), problem=str(error.detail))
    return JSONResponse(reply.model_dump(), error.status_code, headers=error.headers)


def _no_json(cause: BaseException | None) -> str:
    """Why Python could not read a body of which FastAPI only says that there was an error; else empty."""
    if isinstance(cause, RecursionError):
        return "its lists and objects are nested too deeply"
    if isinstance(cause, UnicodeDecodeError):
        return "it is not in UTF-8"
    return "a number in it has too many digits" if isinstance(cause, ValueError) else ""


def _on_bug(request: Request, error: Exception) -> JSONResponse:
    """An error that nobody foresaw. Its traceback goes to the log, not to the caller."""
    return error_response(
        EaselError(
            f"{request.method} {request.url.path[:200]} stopped with {type(error).__name__}, a bug.",
            "The log has the details; please report them.",
        )
    )
