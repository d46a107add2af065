"""The Hub: what a repository holds, and one file of it, resumed where the last attempt stopped.

huggingface_hub (since 1.0) throws unfinished files away, so the transfer is done here, with the standard
library: two GET requests of the public API, `Range` to resume, and the token (HF_TOKEN) sent to the Hub
only, never to the storage that it redirects to.
API: https://huggingface.co/docs/hub/api
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from studio.core.errors import CorruptFile, EaselError, Forbidden, NotFound, Offline
from studio.core.requests import InstallRequest
from studio.models.cache import sha256_of
from studio.models.importing import disk_explained

TIMEOUT = 20
"""Seconds without a byte after which a connection counts as dead."""

ATTEMPTS = 5
"""In a row, each of which brought nothing."""

PAUSE = 0.5
"""Seconds before the next attempt, times the number of those that brought nothing."""

_BLOCK_BYTES = 2**20
_MAX_LISTING_BYTES = 32 * 2**20

_PLAIN_NAME = re.compile(r"^(?![/.])(?!.*(?:^|/)\.{1,2}(?:/|$))[^\\:\x00-\x1f]+$")
"""A relative path that stays where it is put."""


@dataclass(frozen=True)
class HubFile:
    name: str
    """Path inside the repository."""
    size: int
    sha256: str = ""
    """Empty for small files, which the Hub does not hash so."""


@dataclass(frozen=True)
class Repository:
    repo: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str = ""


def list_repository(request: InstallRequest) -> Repository:
    """The files of the repository at the requested revision.

    Raises: NotFound, Forbidden, Offline, CorruptFile.
    """
    url = f"{_endpoint()}/api/models/{request.repo}/revision/{quote(request.revision, safe='')}?blobs=true"
    try:
        with _get(url, request.repo) as response:
            listing = json.loads(response.read(_MAX_LISTING_BYTES))
        files = tuple(_file(entry) for entry in listing["siblings"] if _PLAIN_NAME.match(entry["rfilename"]))
        card = listing.get("cardData") or {}
        return Repository(request.repo, listing["sha"], files, str(card.get("license", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(
            f"The Hub's answer for {request.repo} cannot be read: {error!r}.", "Try again later."
        ) from error
    except (OSError, HTTPException) as error:
        raise _offline(error) from error


def _file(entry: Mapping[str, Any]) -> HubFile:
    large = entry.get("lfs") or {}
    return HubFile(
        entry["rfilename"], int(large.get("size") or entry.get("size") or 0), str(large.get("sha256", ""))
    )


def download(
    repository: Repository,
    file: HubFile,
    target: Path,
    received: Callable[[int], None],
    check: Callable[[], None],
) -> None:
    """Fetch one file to `target`, going on with `target.part` where there is one.

    Args:
        received: told the bytes of the file that are on disk, again and again.
        check: called between blocks; what it raises ends the transfer and keeps the part.

    Raises: Offline, NotFound, Forbidden, DiskFull, CorruptFile (twice the wrong content).
    """
    part = target.with_name(f"{target.name}.part")
    transfer = _Transfer(repository, file, part, received, check)
    with disk_explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        transfer.run()
        if not _is_intact(part, file):
            part.unlink()
            transfer.run()
        if not _is_intact(part, file):
            part.unlink()
            raise CorruptFile(f"{file.name} of {repository.repo} arrives damaged.", "Try again later.")
        part.replace(target)


class _Cut(Exception):
    """The connection ended early."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class _Transfer:
    """One file on its way to `part`."""

    repository: Repository
    file: HubFile
    part: Path
    received: Callable[[int], None]
    check: Callable[[], None]

    def run(self) -> None:
        """Connect until all of it is there, or too many attempts in a row brought nothing."""
        fruitless = 0
        while _size(self.part) < self.file.size or not self.part.exists():
            before, reason = _size(self.part), None
            self.check()
            try:
                self._connect()
            except _Cut as cut:
                reason = cut.reason
            fruitless = 0 if _size(self.part) > before else fruitless + 1
            if fruitless == ATTEMPTS:
                raise _offline(reason)
            time.sleep(PAUSE * fruitless)
        self.received(_size(self.part))

    def _connect(self) -> None:
        """Append what one connection brings."""
        start, repo = _size(self.part), self.repository.repo
        url = f"{_endpoint()}/{repo}/resolve/{self.repository.commit}/{quote(self.file.name)}"
        try:
            response = _get(url, repo, start)
        except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
            raise _Cut(error) from error
        with response, self.part.open("ab" if response.status == 206 else "wb") as stream:
            while block := _read(response):
                stream.write(block)
                self.received(stream.tell())
                self.check()


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK_BYTES)
    except (HTTPException, ConnectionError, TimeoutError) as error:
        raise _Cut(error) from error


def _get(url: str, repo: str, start: int = 0) -> HTTPResponse:
    from huggingface_hub import get_token

    request = Request(url, headers={"User-Agent": "easel"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token := get_token():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        response: HTTPResponse = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code < 500 and error.code != 429:
            raise _refusal(error.code, repo) from error
        raise
    return response


def _refusal(code: int, repo: str) -> EaselError:
    if code in (401, 403):
        return Forbidden(
            f"The Hub does not hand {repo} to everyone, or there is no such repository.",
            "Check the name, accept its terms on its page, and set HF_TOKEN to your access token.",
        )
    return NotFound(
        f"The Hub has no {repo}, or not that revision or file of it.", "Check the name on the Hub."
    )


def _offline(error: Exception | None) -> Offline:
    reason = getattr(error, "reason", None) or error or "the connection breaks again and again"
    return Offline(
        f"The download needs {_endpoint()}, which does not answer: {reason}.",
        "Check the connection, then retry: it goes on where it stopped.",
    )


def _endpoint() -> str:
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def _is_intact(part: Path, file: HubFile) -> bool:
    if part.stat().st_size != file.size:
        return False
    return not file.sha256 or sha256_of(part) == file.sha256


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
