"""Where the page finds pictures: routes of the HTTP API.

By id, so that no path of this machine reaches a browser; relative, so that the page works behind a prefix.
"""

from __future__ import annotations

from urllib.parse import quote

EXPORT_URL = "studio/v1/images/export"


def image_url(image_id: str) -> str:
    return f"studio/v1/images/{quote(image_id, safe='')}/file"


def thumbnail_url(image_id: str) -> str:
    return f"studio/v1/images/{quote(image_id, safe='')}/thumbnail"


def blob_url(blob_id: str) -> str:
    return f"studio/v1/blobs/{quote(blob_id, safe='')}"
