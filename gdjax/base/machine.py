"""Cores, memory and cache folder of this process, on Linux, macOS and Windows.

Containers, batch jobs and `systemd-run` limit the memory of a process by control groups. A process
that exceeds the limit of its group is killed.
"""

import os
import platform
from functools import lru_cache
from pathlib import Path

import psutil

from gdjax.base.errors import InputError

VECTOR_INSTRUCTIONS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "amx_tile", "asimd", "sve")


def cores() -> int:
    """Return the number of processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def cache_folder() -> Path:
    """Return gdjax's folder in the user's cache, for decoded data and programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdjax"


@lru_cache
def processor() -> str:
    """Return the model of the processor, with the vector instructions that rounding depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    entries = dict(reversed([line.partition(":")[::2] for line in lines]))
    entries = {name.strip(): value.strip() for name, value in entries.items()}
    model = entries.get("model name") or platform.processor() or platform.machine()
    known = entries.get("flags", entries.get("Features", "")).split()
    vectors = [flag for flag in VECTOR_INSTRUCTIONS if flag in known]
    return f"{model} ({' '.join(vectors) or platform.machine()})"


def format_bytes(count: int | float) -> str:
    """Return a number of bytes as text with a binary unit.

    Examples:
        >>> format_bytes(3 * 2**30), format_bytes(20)
        ('3.0 GiB', '20 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count:.0f} bytes"


def check_bytes(
    subject: str, need: int | float, place: str, limit: int | float, remedy: str
) -> None:
    """Check that what a computation needs fits in a memory or on a disk."""
    if need > limit:
        raise InputError(
            f"{subject} need {format_bytes(need)}, but {place} has {format_bytes(limit)}; {remedy}"
        )


@lru_cache  # reading the files takes longer than checking a small sweep
def memory(root: Path = Path("/")) -> int:
    """Return the physical memory in bytes, or the limit of a control group if lower.

    The limits are read once per process.

    Args:
        root: root of the file system from which to read the limits.
    """
    return min([_physical(), *_limits(root)])


def _physical():
    """Return the physical memory of the machine in bytes."""
    try:
        return psutil.virtual_memory().total
    except OSError:  # /proc is not mounted
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _limits(root):
    """Yield the memory limits, in bytes, of this process's control groups and above."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
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
        # In a container, the group may be mounted as the root, so this path may not exist.
        for ancestor in (group, *group.parents):
            try:
                yield int((folder / ancestor / file).read_text())
            except (OSError, ValueError):  # there is no such group here, or its limit is "max"
                continue
