"""The connection to the hub is tried once, and its failure is known within seconds."""

import socket
import threading
import time

import pytest
from huggingface_hub import constants

from BYOL.data import hub_connection


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_connection, "_problem", None)
    monkeypatch.setattr(hub_connection, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_server_that_answers_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub_connection.hub_problem() is None
    assert hub_connection.hub_problem() is None, "it is tried once"
    assert not constants.HF_HUB_OFFLINE


def test_a_closed_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub_connection.hub_problem() == "no connection to 127.0.0.1: Connection refused"
    assert constants.HF_HUB_OFFLINE
    assert hub_connection.hub_problem() == "no connection to 127.0.0.1: Connection refused"


def test_a_search_for_a_name_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def wait(*arguments: object, **more: object) -> None:
        end.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", wait)
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")
    monkeypatch.setattr(hub_connection, "_SECONDS", 0.1)
    began = time.monotonic()
    assert hub_connection.hub_problem() == "no answer from huggingface.co"
    assert time.monotonic() - began < 10
    end.set()


def test_a_proxy_and_the_offline_mode_are_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_connection, "getproxies", lambda: {"https": "http://proxy:3128"})
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    assert hub_connection.hub_problem() is None
    monkeypatch.setattr(hub_connection, "_problem", None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_connection.hub_problem() == "HF_HUB_OFFLINE is set"
