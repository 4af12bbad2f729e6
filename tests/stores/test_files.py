"""A store's folder: nothing leads out of it, and a file is there as a whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from gdjax.errors import StoreError
from gdjax.stores.files import MISSING, Folder, writing


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    return Folder(tmp_path / "store")


@pytest.mark.parametrize("name", ["", "..", "a/../b", "a\\b", "a//b", "/etc/passwd", "a\0b", "."])
def test_a_name_that_leads_elsewhere(folder, name):
    with pytest.raises(StoreError, match="cannot name a file of a store"):
        folder.at(name)


def test_links_are_not_followed(folder, tmp_path):
    (folder.path / "cost").symlink_to(tmp_path)
    (folder.path / "file").symlink_to(tmp_path / "precious")
    assert folder.read("cost/precious", 100) == (b"", "lies behind a link")
    assert folder.read("file", 100) == (b"", "is a link, expected a file")
    assert folder.names("cost") == set()
    with pytest.raises(StoreError, match="is a link, and a store has none"):
        folder.write("cost/precious", b"other")
    folder.write("file", b"mine")
    folder.remove("cost")
    folder.make("cost")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert folder.read("file", 100) == (b"mine", None)
    assert (folder.path / "cost").is_dir()


def test_what_is_no_file_is_told(folder):
    (folder.path / "folder").mkdir()
    os.mkfifo(folder.path / "pipe")  # nobody writes to it: opening it would wait for ever
    (folder.path / "long").write_bytes(bytes(10))
    assert folder.read("none", 5) == (b"", MISSING)
    assert folder.read("folder", 5) == (b"", "is a folder, expected a file")
    assert folder.read("pipe", 5) == (b"", "is no file")
    assert folder.read("long", 5) == (b"", "10 bytes, expected at most 5")
    assert folder.problem("long", 10) is None
    assert folder.problem("long", 9) == "10 bytes, expected 9"


def test_a_write_that_fails_leaves_what_was_there(folder, monkeypatch):
    folder.write("file", b"old", durable=True)

    def full(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with (
            pytest.raises(StoreError, match=r"No space left.*free some space"),
            writing(folder.path),
        ):
            folder.write("file", b"new")
    assert folder.read("file", 9) == (b"old", None)
    assert folder.names() == {"file"}


def test_only_what_a_killed_writer_left_is_removed(folder):
    left = "cost.0123456789abcdef0123456789abcdef.partial"
    for name in (left, "cost.partial", "notes.partial.txt"):
        (folder.path / name).write_text("half")
    folder.remove_partial()
    assert folder.names() == {"cost.partial", "notes.partial.txt"}
