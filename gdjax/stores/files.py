"""A folder out of which nothing leads: the only way in which a store touches the disk.

Names are checked and links are never followed, so what comes from a stranger is neither read from
elsewhere nor written there. Where something else stands in the way of a file of ours (a link, a
folder), it is removed; what a link points to stays.

What has to survive is kill -9: a file is renamed into place, and is there as a whole or not at all.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Generator
from pathlib import Path

from gdjax.errors import StoreError

MISSING = "missing"
PARTIAL = ".partial"  # how the name of a file ends that is still being written


class Folder:
    """A folder of the disk.

    Args:
        path: it need not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path

    def at(self, name: str) -> Path:
        """The path of one of the folder's files or folders.

        Args:
            name: as `cost/c.0.1`.

        Raises:
            StoreError: it leads elsewhere.
        """
        *above, last = name.split("/")
        return self._through(above) / _checked(last)

    def _through(self, names: list[str]) -> Path:
        path = self.path
        for name in names:
            path /= _checked(name)
            if path.is_symlink():
                raise _Elsewhere(
                    f"{path} is a link, and a store has none; start its sweep again on this "
                    f"store, or choose another"
                )
        return path

    def problem(self, name: str, size: int) -> str | None:
        """Say why something is no file of a size, None if it is one; nothing is read."""
        try:
            found = self.at(name).lstat()
        except (OSError, _Elsewhere) as error:
            return _said(error)
        return _problem(found) or (
            None if found.st_size == size else f"{found.st_size} bytes, expected {size}"
        )

    def read(self, name: str, at_most: int) -> tuple[bytes, str | None]:
        """Read a file.

        Args:
            name: of the file.
            at_most: bytes; a longer one is not read.

        Returns:
            Its bytes, and what is wrong with it, None if nothing is.
        """
        # A pipe without a writer would otherwise be waited for.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            path = self.at(name)
            if problem := _problem(path.lstat()):
                return b"", problem
            with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > at_most:
                    return b"", f"{size} bytes, expected at most {at_most}"
                return file.read(), None
        except (OSError, _Elsewhere) as error:
            return b"", _said(error)

    def write(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Write a file that is there as a whole or, after a kill, not at all.

        Args:
            name: of the file; its folder is there.
            data: its bytes.
            durable: it is there after a loss of power, too.
        """
        path = self.at(name)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            with partial.open("xb") as file:
                file.write(data)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise

    def make(self, name: str) -> None:
        """Make a folder, in place of a file or link that stands there."""
        path = self.at(name)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            path.unlink()
        path.mkdir(exist_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, a link or a folder, if there is one."""
        path = self.at(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def names(self, name: str = "") -> set[str]:
        """Names of what stands in the folder, or in one of its own; none where there is none."""
        try:
            return {
                child.name for child in self._through(name.split("/") if name else []).iterdir()
            }
        except (FileNotFoundError, NotADirectoryError, _Elsewhere):
            return set()

    def remove_partial(self, name: str = "") -> None:
        """Remove what a killed writer was about to rename."""
        for child in self.names(name):
            if re.fullmatch(rf".+\.[0-9a-f]{{32}}\{PARTIAL}", child):
                self.remove(f"{name}/{child}" if name else child)


@contextlib.contextmanager
def writing(path: Path) -> Generator[None]:
    """Turn an error of the disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "see to the disk or its permissions"
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error}); {remedy} and start its sweep "
            f"again on this store: what is finished stays finished"
        ) from error


class _Elsewhere(StoreError):
    """A name that leads through a link."""


def _said(error: OSError | _Elsewhere) -> str:
    if isinstance(error, _Elsewhere):
        return "lies behind a link"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MISSING
    return f"cannot be read ({error.strerror})"


def _checked(part: str) -> str:
    if part in ("", ".", "..") or any(c in part for c in "/\\\0"):
        raise StoreError(f"{part!r} cannot name a file of a store")
    return part


def _problem(found: os.stat_result) -> str | None:
    for test, what in ((stat.S_ISREG, None), (stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder")):
        if test(found.st_mode):
            return what and f"is {what}, expected a file"
    return "is no file"
