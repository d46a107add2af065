"""Small things that several tests send."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn
from PIL import Image

HOST = "127.0.0.1:7860"

SMALL = {"prompt": "a red ball", "width": 64, "height": 64, "steps": 3}
"""Fields that /studio/v1 and /sdapi/v1 have in common."""

JOB = {"kind": "generate", **SMALL, "seed": 7}


def png(colour="red", size=(64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def png_base64(colour="red") -> str:
    return base64.b64encode(png(colour)).decode()


def open_base64(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def wait_until(condition, seconds=10.0):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def run_job(client, request=None):
    """Submit and wait; the job's last state."""
    job = client.post("/studio/v1/jobs", json=request or JOB).json()
    return wait_until(lambda: (view := client.get(f"/studio/v1/jobs/{job['id']}").json())["ended"] and view)


@contextmanager
def served(app):
    """A real server on a free port, which is what the block gets."""
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    yield door.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=10)
