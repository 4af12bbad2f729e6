"""One sweep at a time has a store: a lock that its holder's death frees, kill -9 included."""

import contextlib
import os
import socket

from gdjax.errors import StoreError
from gdjax.stores.files import Folder, writing
from gdjax.stores.format import OWN

LOCK = f"{OWN}/lock"


def take(folder: Folder) -> int:
    """Take the store for this process, until it ends or closes the returned descriptor."""
    from filelock import lock_descriptor

    path = folder.path
    with writing(path):
        file = folder.at(LOCK)
        if file.is_symlink() or (
            file.exists() and (not file.is_file() or file.stat().st_nlink > 1)
        ):
            folder.remove(LOCK)  # what is written to it would end up elsewhere
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(file, flags, 0o666)
    try:
        taken = lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        os.close(descriptor)
        raise StoreError(
            f"{path}: its file system cannot lock files ({error.strerror}); choose a folder of "
            f"another file system"
        ) from error
    # Behind the first byte, which is what Windows locks.
    os.lseek(descriptor, 1, os.SEEK_SET)
    if not taken:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        os.close(descriptor)
        raise StoreError(
            f"{path} is being written by {holder}; wait until it has ended, or end it, and start "
            f"again: what is finished stays finished. To look at the store meanwhile, open it "
            f"for reading"
        )
    with contextlib.suppress(OSError):  # only for the message above
        os.ftruncate(descriptor, 1)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return descriptor
