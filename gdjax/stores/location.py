"""Location of the files of a store: a folder, or an object store.

    locate("runs.zarr") -> Folder        locate("s3://bucket/runs.zarr", region="eu") -> Bucket

Both read, write, list and remove whole files by key, such as `cost/c.0.1`, within the store only.
Writes are atomic: a file never has incomplete contents, even if its writer is interrupted.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as path:
...     folder = locate(path)
...     folder.write("cost/c.0", b"1234")
...     folder.read("cost/c.0", 10), folder.read("cost/c.1", 10), folder.sizes("cost")
((b'1234', None), (b'', 'missing'), {'c.0': 4})
"""

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gdjax.base.arguments import import_extra
from gdjax.base.array_file import remove_partial, write_file
from gdjax.base.documents import sha256
from gdjax.base.errors import InputError, StoreError

MISSING = "missing"
MAX_FILE_NAME_BYTES = 255  # limit for one component of a path on Linux, macOS and Windows
CLAIM_SECONDS = 2.0  # time after which the claim of a version, which takes moments, has no owner
CONNECTIONS = 32  # number of concurrent requests to an object store
AGAIN = "start the sweep again on this store; finished runs are kept"
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.ELOOP: "remove the link",
}


def check_no_file(folder: str | Path) -> None:
    """Check that the path of a folder is not that of a file."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise StoreError(f"{folder} is a file; expected a folder. Choose another store")


def locate(store: Any, **options: Any) -> "Folder | Bucket":
    """Return the location of a store, which every function accepts in place of its path or URL.

    Args:
        store: path of a folder, or URL: `s3://bucket/runs.zarr`, `gs://...`, `az://...`. A location
            is returned unchanged.
        options: keywords of `obstore.store.from_url` for a URL, such as `region` or
            `access_key_id`. By default, they are read from the environment.

    Examples:
        >>> locate("runs.zarr").path.name, str(locate("s3://bucket/runs.zarr", region="eu-north-1"))
        ('runs.zarr', 's3://bucket/runs.zarr')
    """
    if isinstance(store, Folder | Bucket) and not options:
        return store
    is_text = isinstance(store, str | os.PathLike) and str(store) and "\0" not in str(store)
    if is_text and "://" in str(store):
        return Bucket(str(store), options)
    if options:
        raise InputError(
            f"locate: {', '.join(options)} = ..., but store = {str(store)!r} is no URL; expected a "
            f"URL, such as s3://bucket/runs.zarr, or no options"
        )
    if not is_text:
        raise InputError(
            f"store = {store!r:.80}, expected the path of a folder, a URL, or its location by "
            f"gd.stores.locate"
        )
    longest = max((len(os.fsencode(part)) for part in Path(store).parts), default=0)
    if longest > MAX_FILE_NAME_BYTES:
        raise InputError(
            f"store = {str(store)!r:.80}...: a name of {longest} bytes, expected at most "
            f"{MAX_FILE_NAME_BYTES}; choose a shorter one"
        )
    return Folder(Path(store))


def _stays(claim: Path) -> bool:
    """Return whether a file exists and is not removed within `CLAIM_SECONDS`."""
    until = time.monotonic() + CLAIM_SECONDS
    while exists := claim.exists():
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return exists


class Folder:
    """A folder in which symbolic links are never followed."""

    def __init__(self, path: Path):
        self.name, self.path = str(path), path.absolute()  # the process may change its folder

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """Text that differs between folders."""
        return str(self.path)

    def path_of(self, key: str) -> Path:
        """Return the path of a file; raise an `OSError` if one of its folders is a link."""
        *folders, name = key.split("/")
        path = self.path
        for folder in folders:
            path /= folder
            if path.is_symlink():
                raise OSError(
                    errno.ELOOP, f"{path} is a symbolic link, which a store must not contain"
                )
        return path / name

    def read(self, key: str, at_most: int) -> tuple[bytes, str | None]:
        """Read a file of at most `at_most` bytes.

        Returns:
            The contents of the file, and a description of its problem; None without a problem.
        """
        try:
            path = self.path_of(key)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                return b"", "is a link"
            if not stat.S_ISREG(status.st_mode):
                return b"", "is not a file"
            if status.st_size > at_most:
                return b"", f"{status.st_size} bytes, expected at most {at_most}"
            return path.read_bytes(), None
        except (FileNotFoundError, NotADirectoryError):
            return b"", MISSING
        except OSError as error:
            return b"", f"cannot be read ({error.strerror})"

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Write or replace a file, after a flush to disk if `durable`."""
        with self.explain_os_errors():
            path = self.path_of(key)
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                return write_file(path, data, durable=durable)
            if path.is_dir():  # on Windows a PermissionError
                shutil.rmtree(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data, durable=durable)

    def read_version(self, key: str, at_most: int) -> tuple[bytes, str | None, bytes]:
        """Read a file, and also return its version, which is its contents."""
        data, problem = self.read(key, at_most)
        return data, problem, data

    def write_if(self, key: str, data: bytes, condition: Any) -> bytes | None:
        """Write a file if it does not exist ("create") or still has a given version.

        Only one process at a time can create the file that claims a version. A claim that stays
        for `CLAIM_SECONDS` is that of a killed process, and is followed by a claim of its version
        with the next number, which only one process can create either.

        Returns:
            The new version; None if the condition is not satisfied.
        """
        if condition == "create":
            with self.explain_os_errors(), contextlib.suppress(FileExistsError):
                path = self.path_of(key)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    file.write(data)
                return data
            return None
        claims, name = [], f"{key.partition('/')[0]}/claim-{sha256(condition)}"
        with self.explain_os_errors(), contextlib.suppress(FileExistsError, FileNotFoundError):
            while not claims or _stays(claims[-1]):
                claims.append(self.path_of(f"{name}-{len(claims)}"))
            claims[-1].open("xb").close()
            try:
                if self.read(key, len(condition)) == (condition, None):
                    self.write(key, data)
                    return data
            finally:
                for claim in claims:
                    claim.unlink(missing_ok=True)
        return None

    def remove(self, key: str) -> None:
        """Remove a file, a link or a folder if it exists."""
        with self.explain_os_errors():
            path = self.path_of(key)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of each file in a folder; -1 for other entries."""
        try:
            with os.scandir(self.path_of(f"{folder}/".lstrip("/"))) as entries:
                statuses = [(e.name, e.stat(follow_symlinks=False)) for e in entries]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return {}
            raise StoreError(f"{self} cannot be read ({error.strerror})") from error
        return {name: s.st_size if stat.S_ISREG(s.st_mode) else -1 for name, s in statuses}

    def remove_partial(self, folder: str = "") -> None:
        """Remove the unfinished files of killed writers from a folder."""
        with self.explain_os_errors():
            remove_partial(self.path_of(f"{folder}/".lstrip("/")).glob("*"))

    def map(self, function: Callable, items: Iterable) -> Iterable:
        """Apply a function that reads or writes files to each item, in order."""
        return map(function, items)

    @contextlib.contextmanager
    def explain_os_errors(self) -> Generator[None]:
        """Convert an error of the file system to a `StoreError` with a remedy."""
        try:
            yield
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "check the disk and its permissions")
            raise StoreError(
                f"{self} cannot be written ({error.strerror or error}); {remedy} and {AGAIN}"
            ) from error


class Bucket:
    """The objects of an object store whose keys have a common prefix."""

    def __init__(self, url: str, options: Mapping[str, Any]):
        self.url, self.options = url.rstrip("/"), options
        self._obstore = obstore = import_extra(f"store = {url!r}", "obstore", "cloud")
        self._error = obstore.exceptions.BaseError
        try:
            self.store = obstore.store.from_url(self.url, **options)
        except (self._error, ValueError, TypeError) as error:
            raise InputError(f"store = {url!r}: {_first_line(error)}") from error

    def __str__(self) -> str:
        return self.url

    @property
    def address(self) -> str:
        """Text that differs between object stores and their prefixes."""
        return f"{self.url} {self.options}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Bucket, (self.url, self.options)

    def read(self, key: str, at_most: int) -> tuple[bytes, str | None]:
        """Read an object, like `Folder.read`."""
        return self.read_version(key, at_most)[:2]

    def read_version(self, key: str, at_most: int) -> tuple[bytes, str | None, Any]:
        """Read an object, like `Folder.read`, and also return its version."""
        with self._reached():
            try:
                response = self._obstore.get(self.store, key)
            except FileNotFoundError:
                return b"", MISSING, None
            meta = response.meta
            if meta["size"] > at_most:
                return b"", f"{meta['size']} bytes, expected at most {at_most}", None
            return bytes(response.bytes()), None, _version(meta)

    def write(self, key: str, data: bytes, *, durable: bool = False) -> None:
        """Write or replace an object; object stores are always durable."""
        with self._reached():
            self._obstore.put(self.store, key, data)

    def write_if(self, key: str, data: bytes, condition: Any) -> Any:
        """Write an object and return its version, like `Folder.write_if`."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._reached():
            try:
                return _version(self._obstore.put(self.store, key, data, mode=condition))
            except (AlreadyExistsError, PreconditionError):
                return None

    def remove(self, key: str) -> None:
        """Remove an object if it exists."""
        with self._reached(), contextlib.suppress(FileNotFoundError):
            self._obstore.delete(self.store, key)

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the size in bytes of each object under a prefix; -1 for longer prefixes."""
        with self._reached():
            listed = self._obstore.list_with_delimiter(self.store, folder or None)
        sizes = {name.rpartition("/")[2]: -1 for name in listed["common_prefixes"]}
        return sizes | {o["path"].rpartition("/")[2]: o["size"] for o in listed["objects"]}

    def remove_partial(self, folder: str = "") -> None:
        """Do nothing, since an object is never partially written."""

    def map(self, function: Callable, items: Iterable) -> Iterable:
        """Apply a function to each item, concurrently; return the results in order."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            yield from pool.map(function, items)

    @contextlib.contextmanager
    def _reached(self) -> Generator[None]:
        """Convert an error of the object store to a `StoreError` with a remedy."""
        try:
            yield
        except (FileNotFoundError, self._error) as error:
            # Callers handle a missing object, so this error means a missing bucket.
            if isinstance(error, FileNotFoundError) or "404 Not Found" in str(error):
                raise StoreError(
                    f"{self}: no such bucket or container; create it, or correct the URL"
                ) from error
            raise StoreError(
                f"{self} cannot be read or written ({_first_line(error)}); check the connection, "
                f"the bucket and the credentials, and {AGAIN}"
            ) from error


StoreLike = str | Path | Folder | Bucket
"""Path, URL or location of a store."""


def _version(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
