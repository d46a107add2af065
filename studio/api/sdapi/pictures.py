"""Pictures as AUTOMATIC1111's clients send them: base64, with or without the head of a data URL."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from studio.core.base import BlobId
from studio.core.errors import ImageError

PutBlob = Callable[[bytes], BlobId]
"""Stores a picture and says under which hash. Raises: ImageError."""


def store_picture(text: str, field: str, put_blob: PutBlob) -> BlobId:
    """Keep the picture that stands in `field`. Raises: ImageError, with the field."""
    return store_file(decode_picture(text, field), field, put_blob)


def store_file(data: bytes, field: str, put_blob: PutBlob) -> BlobId:
    """The same with the file's bytes."""
    try:
        return put_blob(data)
    except ImageError as error:
        error.field = field
        raise


def decode_picture(text: str, field: str) -> bytes:
    """The file's bytes. Raises: ImageError."""
    if text.startswith(("http://", "https://")):
        raise ImageError(
            "Pictures are taken as base64, and this one is an address, which Easel does not fetch.",
            "Send the file's bytes in base64.",
            field=field,
        )
    encoded = text.partition(",")[2] if text.startswith("data:") else text
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(
            "The picture is no base64.", "Send the file's bytes in base64.", field=field
        ) from error
    if not data:
        raise ImageError("The picture is empty.", "Send the file's bytes in base64.", field=field)
    return data


def encode_picture(data: bytes) -> str:
    """A picture's file as base64, without the head of a data URL."""
    return base64.b64encode(data).decode("ascii")
