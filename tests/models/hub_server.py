"""A Hub on loopback: the two endpoints that an installation uses, and the troubles that a network makes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves the files of one folder as the repository `someone/model`.

    Attributes:
        cut_after: bytes after which a download's connection is closed, each time; 0 never.
        refuse: status that every request is answered with; 0 for none.
        ignore_ranges: answer a resumed download with the whole file.
        ranges: the Range headers that were asked for.
        corrupt: names of files that arrive with one bit changed.
        redirect: answer downloads with a redirect to the storage, as the real Hub does.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cut_after = 0
        self.refuse = 0
        self.ignore_ranges = False
        self.redirect = False
        self.corrupt: set[str] = set()
        self.ranges: list[str] = []
        self.downloads: list[str] = []
        self.tokens: dict[str, str] = {}
        self.extra_siblings: list[dict[str, object]] = []

    def listing(self) -> dict[str, object]:
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        siblings = [self._sibling(path) for path in files]
        return {"sha": COMMIT, "cardData": {"license": "mit"}, "siblings": siblings + self.extra_siblings}

    def _sibling(self, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        entry: dict[str, object] = {"rfilename": path.relative_to(self.folder).as_posix(), "size": len(data)}
        if path.suffix not in {".json", ".txt", ".md"}:
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return entry


@contextmanager
def serve(hub: FakeHub) -> Iterator[str]:
    """The address of a server that speaks for `hub`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            place = "storage" if path.startswith("/storage/") else "hub"
            hub.tokens[place] = self.headers.get("Authorization", "")
            if hub.refuse:
                self.reply(hub.refuse, b"no")
            elif path == "/api/models/someone/model/revision/main":
                self.reply(200, json.dumps(hub.listing()).encode())
            elif path.startswith((f"/someone/model/resolve/{COMMIT}/", "/storage/")):
                self.file(path, path.split(f"{COMMIT}/", 1)[1])
            else:
                self.reply(404, b"{}")

        def file(self, path: str, name: str) -> None:
            if hub.redirect and not path.startswith("/storage/"):
                self.send_response(302)
                self.send_header("Location", f"/storage/{COMMIT}/{name}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = (hub.folder / name).read_bytes()
            if name in hub.corrupt:
                data = bytes([data[0] ^ 1]) + data[1:]
            hub.downloads.append(name)
            start = self.start_of_range()
            self.reply(206 if start else 200, data[start:])

        def start_of_range(self) -> int:
            wanted = self.headers.get("Range", "")
            if wanted:
                hub.ranges.append(wanted)
            return 0 if hub.ignore_ranges or not wanted else int(wanted.removeprefix("bytes=").rstrip("-"))

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(
                body[: hub.cut_after] if hub.cut_after and status in (200, 206) and body[:1] != b"{" else body
            )
            if hub.cut_after:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
