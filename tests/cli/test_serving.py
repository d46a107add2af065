"""`easel serve` as a process: the page is there before torch, and Ctrl+C ends it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

PATIENCE = 120
"""Seconds to wait for what has no bar of its own."""


class Server:
    """A running `easel serve`, and what its page cost until it answered.

    Counted in seconds of the processor: on an idle machine that is the time a person waits, and on a busy one
    it still is what the start takes.
    """

    def __init__(self, data_dir: Path, *words: str) -> None:
        command = [sys.executable, "-m", "studio", "serve", "--no-browser", "--port", "0", *words]
        self.process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        announced = re.search(r"http://\S+", self.process.stdout.readline())
        assert announced, "the server ended before it was up"
        self.address = announced[0]
        self.page = httpx.get(self.address, timeout=PATIENCE)
        times = psutil.Process(self.process.pid).cpu_times()
        self.seconds_to_page = times.user + times.system

    def status(self) -> dict[str, object]:
        return dict(httpx.get(f"{self.address}/studio/v1/status", timeout=PATIENCE).json())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("data"))
    yield running
    running.process.kill()
    running.process.wait()


def test_the_page_answers_within_ten_seconds(server):
    assert server.page.status_code == 200
    assert "Easel" in server.page.text
    assert server.seconds_to_page < 10


def test_torch_is_loaded_behind_the_page(server):
    deadline = time.monotonic() + PATIENCE
    while not server.status()["ready"]:
        assert time.monotonic() < deadline, server.status()
        time.sleep(0.2)
    assert server.status()["device"] in ("cpu", "cuda", "mps")


def test_the_apis_are_beside_the_page(server):
    paths = httpx.get(f"{server.address}/openapi.json").json()["paths"]
    assert "/studio/v1/jobs" in paths
    assert "/sdapi/v1/txt2img" in paths


def test_the_page_is_behind_the_guard(server):
    assert httpx.get(server.address, headers={"Host": "rebound.example"}).status_code == 403


def test_control_c_ends_the_server(tmp_path):
    running = Server(tmp_path)
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(timeout=PATIENCE) == 0


def test_a_password_is_asked_for_everywhere(tmp_path):
    running = Server(tmp_path, "--listen", "0.0.0.0", "--auth", "ada:secret")
    try:
        assert running.page.status_code == 401
        assert httpx.get(f"{running.address}/studio/v1/status").status_code == 401
        assert httpx.get(running.address, auth=("ada", "secret")).status_code == 200
    finally:
        running.process.kill()
        running.process.wait()


def test_other_machines_are_not_let_in_without_a_password(tmp_path):
    command = [sys.executable, "-m", "studio", "serve", "--listen", "0.0.0.0", "--data-dir", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 2
    assert "--auth" in answer.stderr
