"""What this process may use of the machine: cores and memory, on Linux, macOS and Windows.

A container, a batch job or `systemd-run` gives a process less memory than the machine has, by the
limits of control groups; a process that takes more than its group may is killed.
"""

import os
from pathlib import Path

import psutil


def cores() -> int:
    """Processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory(root: Path = Path("/")) -> int:
    """Bytes that this process may use: the machine's, or the smallest limit of its groups.

    Args:
        root: of the file system that says what the limits are.
    """
    return min([_physical(), *_limits(root)])


def _physical():
    """Return the bytes of memory that the machine has."""
    try:
        return psutil.virtual_memory().total
    except OSError:  # /proc is not mounted
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limits(root):
    """The limits of this process's control groups and of those that they are in."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            folder, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):  # version 1
            folder, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        # A container may see its own group as the root, and not what it is called outside.
        for ancestor in (group, *group.parents):
            try:
                yield int((folder / ancestor / file).read_text())
            except (OSError, ValueError):  # no such group here, or "max"
                continue
