"""Exclusive write access to a store or a part of it, by a locked file or a lease.

The kernel releases a locked file when the process that locked it ends. Object stores, and folders
whose file system cannot lock files, have a lease: a file that is created only if it is absent, is
renewed only if it is unchanged, and expires. Since clocks differ, an expired lease is taken over
only if it is not renewed while the next holder watches it by its own clock. A holder that was
paused may continue after its lease has expired, so every holder checks the lease before it writes a
tile, and checksums detect a tile written by two writers.
"""

import contextlib
import json
import math
import os
import random
import socket
import threading
import time
import uuid

from gdjax.base.errors import StoreError
from gdjax.stores.location import MISSING, Bucket, Folder
from gdjax.stores.schema import OWN

LOCK = f"{OWN}/lock"
LEASE_SECONDS = 60.0  # validity of a lease after its last renewal
_MAX_LEASE_BYTES = 2**16


class InUseError(StoreError):
    """Another process, or another lock of this process, holds the right to write."""


def acquire(location: Folder | Bucket, key: str = LOCK) -> "FileLock | Lease":
    """Acquire the exclusive right to write a store, or the part of it with the lock `key`."""
    if isinstance(location, Folder):
        with contextlib.suppress(NotImplementedError):
            return FileLock(location, key)
    return Lease(location, key)


def acquire_in_turn(location: Folder | Bucket, seconds: float) -> "FileLock | Lease":
    """Acquire the right to write a store that other processes hold for a moment each."""
    until = time.monotonic() + seconds
    while True:
        try:
            return acquire(location)
        except InUseError:
            if time.monotonic() > until:
                raise
        time.sleep(random.uniform(0.02, 0.2))


def is_held(location: Folder | Bucket, key: str) -> bool:
    """Return whether a process holds a lock; one that was killed holds a lease until it expires."""
    if isinstance(location, Bucket):
        lease, version = _read_lease(location, key)
        return lease["until"] > time.time() or (
            lease["until"] > 0 and _is_renewed(location, key, version)
        )
    try:
        acquire(location, key).close()
    except InUseError:
        return True
    return False


def _is_renewed(location, key, version):
    """Watch an expired lease by the clock of this process; return whether it changes."""
    time.sleep(LEASE_SECONDS / 2)  # a live holder renews its lease twice in this time
    return _read_lease(location, key)[1] != version


def _read_lease(location, key):
    """Return a lease and its version; a lease that cannot be parsed never expires."""
    raw, problem, version = location.read_version(key, _MAX_LEASE_BYTES)
    if problem == MISSING:
        return {"until": 0}, "create"
    if problem is None and not raw:  # left by a writer that could not lock the file
        return {"until": 0}, version
    with contextlib.suppress(ValueError, TypeError):
        lease = json.loads(raw)
        return {**lease, "until": float(lease.get("until", math.inf))}, version
    return {"until": math.inf}, version


def _holder() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


class FileLock:
    """A file in the store, locked until `close` or the end of this process."""

    def __init__(self, folder: Folder, key: str):
        from filelock import lock_descriptor

        with folder.explain_os_errors():
            path = folder.path_of(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or (path.exists() and not path.is_file()):
                folder.remove(key)  # a write would follow a link, or wait for a pipe's reader
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor: int | None = os.open(path, flags, 0o666)
        try:
            taken = lock_descriptor(self._descriptor, blocking=False)
        except OSError as error:
            self.close()
            raise NotImplementedError(f"{folder}: the file system cannot lock files") from error
        # The holder is written after the first byte, since Windows locks the first byte.
        os.lseek(self._descriptor, 1, os.SEEK_SET)
        if not taken:
            holder = os.read(self._descriptor, 200).decode(errors="replace").strip()
            self.close()
            raise InUseError(
                f"{folder} is being written by {holder or 'another process'}; start again after it "
                f"has ended; finished runs are kept. Until then, the store can be opened for "
                f"reading"
            )
        with contextlib.suppress(OSError):  # the holder is only used in the message above
            os.ftruncate(self._descriptor, 1)
            os.write(self._descriptor, f"{_holder()}\n".encode())

    def check(self) -> None:
        """Do nothing, since a holder cannot lose the lock of a file."""

    def close(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


class Lease:
    """A file that names the writer of a store and expires unless it is renewed."""

    def __init__(self, location: Folder | Bucket, key: str):
        self.location, self.key = location, key
        self._id, self._lost = uuid.uuid4().hex, False
        self._version = self._write("create") or self._take_over()
        self._closing = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)
        self._renewer.start()

    def _write(self, condition):
        """Write the lease and return its version; None if another process holds it."""
        lease = {"holder": _holder(), "until": time.time() + LEASE_SECONDS, "id": self._id}
        version = self.location.write_if(self.key, json.dumps(lease).encode(), condition)
        if version is None:  # the request may have been sent twice, with success the first time
            lease, version = _read_lease(self.location, self.key)
            version = version if lease.get("id") == self._id else None
        return version

    def _take_over(self):
        """Take over an expired lease and return its new version."""
        lease, version = _read_lease(self.location, self.key)
        until = lease["until"]
        if until <= time.time():
            is_live = until > 0 and _is_renewed(self.location, self.key, version)
            if not is_live and (taken := self._write(version)) is not None:
                return taken
            lease, until = _read_lease(self.location, self.key)[0], math.inf
        expiry = ""
        if until < 1e11:
            expiry = time.strftime(", whose lease lasts until %H:%M:%S UTC", time.gmtime(until))
        raise InUseError(
            f"{self.location} is being written by {lease.get('holder', 'another process')!s:.100}"
            f"{expiry}; start again after it has ended; finished runs are kept. If it was killed, "
            f"start again after its lease has expired, or remove {self.key} to take over "
            f"immediately"
        )

    def _renew(self) -> None:
        while not self._lost and not self._closing.wait(LEASE_SECONDS / 4):
            with contextlib.suppress(StoreError):  # the next attempt precedes the expiry
                version = self._write(self._version)
                self._lost = version is None
                self._version = version or self._version

    def check(self) -> None:
        """Check that this process still holds the lease."""
        if self._lost:
            raise StoreError(
                f"{self.location}: another process has taken over the lease, so this process stops "
                f"writing; finished runs are kept"
            )

    def close(self) -> None:
        """Release the lease, so that another sweep does not wait until it expires."""
        if not self._closing.is_set():
            self._closing.set()
            self._renewer.join()
            with contextlib.suppress(StoreError):
                if not self._lost and self._write(self._version) is not None:
                    self.location.remove(self.key)
