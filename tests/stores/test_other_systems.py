"""Simulation of systems that lack flags of `open`, such as macOS and Windows."""

import os
import signal
import threading

import pytest

from gdjax import interrupts
from gdjax.errors import StoreError
from gdjax.stores import lock
from gdjax.stores.location import Folder

NOT_EVERYWHERE = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_DIRECTORY")


@pytest.fixture
def poor(monkeypatch):
    """Remove from `os` the attributes that only some systems have."""
    for name in NOT_EVERYWHERE:
        monkeypatch.delattr(os, name, raising=False)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_files_are_binary_if_open_lacks_some_flags(poor, folder):
    data = bytes(range(256)) + b"\r\n\x1a\n"  # bytes that text mode would change
    folder.write("some", data, durable=True)
    assert folder.read("some", 1000) == (data, None)


def test_a_link_is_not_followed_if_open_has_no_flag_for_it(poor, folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    data, problem = folder.read("link", 1000)
    assert data == b""
    assert "a link" in problem


def test_a_store_has_one_writer_if_open_lacks_some_flags(poor, folder):
    first = lock.acquire(folder)
    try:
        with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on "):
            lock.acquire(folder)
    finally:
        first.close()
    lock.acquire(folder).close()


def test_signal_handlers_are_not_replaced_if_python_cannot_restore_them(monkeypatch):
    """Python cannot restore a handler for which `signal.getsignal` returns None."""
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a handler was replaced"))
    with interrupts.interruptible() as stop:
        assert isinstance(stop, threading.Event)
        assert not stop.is_set()
