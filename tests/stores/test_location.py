"""Location of a store: links are not followed, and files are written atomically."""

import errno
import os
import sys
from pathlib import Path

import pytest

from gdjax.base.errors import InputError, StoreError
from gdjax.stores.location import MISSING, Bucket, Folder, locate


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    return Folder(tmp_path / "store")


def test_links_are_not_followed(folder, tmp_path):
    (folder.path / "cost").symlink_to(tmp_path)
    (folder.path / "file").symlink_to(tmp_path / "precious")
    assert folder.read("file", 100) == (b"", "is a link")
    data, problem = folder.read("cost/precious", 100)
    assert data == b""
    assert "cost is a symbolic link, which a store must not contain" in problem
    assert folder.sizes("cost") == {}
    assert folder.sizes() == {"cost": -1, "file": -1}
    for change in (lambda: folder.write("cost/new", b"other"), lambda: folder.remove("cost/new")):
        with pytest.raises(StoreError, match="is a symbolic link, which a store must not contain"):
            change()
    folder.write("file", b"mine")
    folder.remove("cost")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert folder.read("file", 100) == (b"mine", None)


def test_an_entry_that_is_not_a_readable_file_is_reported(folder):
    (folder.path / "folder").mkdir()
    os.mkfifo(folder.path / "pipe")  # without a writer, opening it would block
    (folder.path / "long").write_bytes(bytes(10))
    assert folder.read("none", 5) == (b"", MISSING)
    assert folder.read("none/none", 5) == (b"", MISSING)
    assert folder.read("folder", 5) == (b"", "is not a file")
    assert folder.read("pipe", 5) == (b"", "is not a file")
    assert folder.read("long", 5) == (b"", "10 bytes, expected at most 5")
    assert folder.sizes() == {"folder": -1, "pipe": -1, "long": 10}


def test_files_of_at_most_the_allowed_size_are_read_from_new_folders_and_object_stores(folder):
    pytest.importorskip("obstore")
    for location in (folder, Bucket("memory:///", {})):
        location.write("a/b/c", b"12345")
        assert location.read("a/b/c", 5) == (b"12345", None)
        assert location.read("a/b/c", 4) == (b"", "5 bytes, expected at most 4")


def test_the_error_for_a_url_without_obstore_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(InputError, match=r"obstore is not installed; pip install 'gdjax\[cloud\]'"):
        locate("s3://bucket/runs")


def test_a_failed_write_keeps_the_previous_content(folder, monkeypatch):
    folder.write("file", b"old", durable=True)

    def full(self, _):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StoreError, match=r"No space left.*free some space"):
            folder.write("file", b"new")
    assert folder.read("file", 9) == (b"old", None)
    assert folder.sizes() == {"file": 3}


def test_only_partial_files_of_a_killed_writer_are_removed(folder):
    left = "cost.0123456789abcdef0123456789abcdef.partial"
    for name in (left, "cost.partial", "notes.partial.txt"):
        (folder.path / name).write_text("half")
    folder.remove_partial()
    assert folder.sizes().keys() == {"cost.partial", "notes.partial.txt"}
