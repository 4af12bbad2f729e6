"""What macOS and Windows lack, taken away here: flags of `open`, signals, links."""

import os
import signal
import threading

import pytest

from gdjax import interrupts
from gdjax.errors import StoreError
from gdjax.stores import lock
from gdjax.stores.files import Folder
from gdjax.stores.format import OWN

NOT_EVERYWHERE = ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_DIRECTORY")


@pytest.fixture
def poor(monkeypatch):
    """An `os` without what only some systems have."""
    for name in NOT_EVERYWHERE:
        monkeypatch.delattr(os, name, raising=False)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / OWN).mkdir()
    return Folder(tmp_path)


def test_files_are_read_as_they_were_written(poor, folder):
    data = bytes(range(256)) + b"\r\n\x1a\n"  # what a text mode would change
    folder.write("some", data, durable=True)
    assert folder.read("some", 1000) == (data, None)


def test_a_link_is_not_followed_where_open_cannot_refuse_it(poor, folder, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    data, problem = folder.read("link", 1000)
    assert data == b""
    assert "a link" in problem


def test_windows_opens_in_binary_mode(monkeypatch, folder):
    folder.write("some", b"1\r\n2")
    opened, plainly = [], os.open
    monkeypatch.setattr(os, "O_BINARY", 1 << 28, raising=False)

    def open_without_it(path, flags, *rest):
        opened.append(flags)
        return plainly(path, flags & ~os.O_BINARY, *rest)

    monkeypatch.setattr(os, "open", open_without_it)
    assert folder.read("some", 10) == (b"1\r\n2", None)
    assert opened[0] & os.O_BINARY


def test_a_store_has_one_writer_where_open_has_fewer_flags(poor, folder):
    first = lock.take(folder)
    try:
        with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on "):
            lock.take(folder)
    finally:
        os.close(first)
    os.close(lock.take(folder))


def test_work_in_a_thread_and_without_a_python_handler_is_left_alone(monkeypatch):
    """Embedded interpreters have a handler that Python cannot put back: it is not replaced."""
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a handler was replaced"))
    with interrupts.interruptible() as stop:
        assert isinstance(stop, threading.Event)
        assert not stop.is_set()
