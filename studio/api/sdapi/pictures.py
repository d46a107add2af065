"""Pictures as AUTOMATIC1111's clients send them: base64, with or without the head of a data URL."""

from __future__ import annotations

import base64
import binascii

from studio.core.errors import ImageError


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
    return base64.b64encode(data).decode("ascii")
