"""`easel serve`: who may come in, and what is refused before anything starts."""

from __future__ import annotations

import socket

import pytest
import typer

from studio.cli import serve
from studio.core.errors import EaselError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_this_machine_needs_no_password(host):
    serve.check_exposure(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org", ""])
def test_other_machines_need_a_password(host):
    with pytest.raises(typer.BadParameter, match="Add --auth USER:PASSWORD"):
        serve.check_exposure(host, None)
    serve.check_exposure(host, "ada:secret")


def test_a_password_may_contain_colons():
    assert serve.parse_auth("ada:a:b") == ("ada", "a:b")


@pytest.mark.parametrize("text", ["ada", "ada:", ":secret", ""])
def test_half_a_login_is_refused(text):
    with pytest.raises(typer.BadParameter, match="a user and a password"):
        serve.parse_auth(text)


def test_a_taken_port_is_named_with_a_remedy():
    with serve.open_port("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EaselError, match=f"Port {port} is taken.*--port"):
            serve.open_port("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(EaselError, match=r"cannot listen at 192\.0\.2\.1"):
        serve.open_port("192.0.2.1", 0)


def test_an_open_port_takes_connections():
    with serve.open_port("127.0.0.1", 0) as door:
        socket.create_connection(door.getsockname(), timeout=5).close()
