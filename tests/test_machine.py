"""Core counts and memory sizes, with limits and on systems without limit files."""

import os

import psutil
import pytest

from gdjax import machine

WHOLE = psutil.virtual_memory().total
UNLIMITED = 9223372036854771712  # value of cgroups v1 for a group without a limit


def tree(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def test_cores_are_those_available_to_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert machine.cores() == 3


@pytest.mark.parametrize(("counted", "cores"), [(6, 6), (None, 1)])
def test_cores_without_an_affinity_mask_are_those_of_the_machine(counted, cores, monkeypatch):
    """macOS and Windows lack os.sched_getaffinity, and cpu_count may return None."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert machine.cores() == cores


def test_without_a_limit_the_memory_is_that_of_the_machine(tmp_path):
    assert machine.memory(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": 1000}, 1000),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": 1000}, 1000),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/b/memory.max": "max",
                "sys/fs/cgroup/a/memory.max": 3000,
            },
            3000,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/b/memory.max": 4000,
                "sys/fs/cgroup/a/memory.max": 3000,
            },
            3000,
        ),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/memory.max": "max"}, WHOLE),
        ({"proc/self/cgroup": "0::/outside", "sys/fs/cgroup/memory.max": 5000}, 5000),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/",
                "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": 2000,
                "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
            },
            2000,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,memory:/outside",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": 6000,
            },
            6000,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED,
            },
            WHOLE,
        ),
    ],
)
def test_memory_is_given_by_the_smallest_limit(files, limit, tmp_path):
    assert machine.memory(tree(tmp_path, files)) == limit


def test_memory_is_at_most_that_of_the_machine():
    assert 0 < machine.memory() <= WHOLE
