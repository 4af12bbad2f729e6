"""Cores, memory and devices, with limits and on systems without limit files."""

import os

import jax
import psutil
import pytest

from gdjax.base import machine
from gdjax.base.devices import local_devices
from gdjax.base.errors import InputError

WHOLE = psutil.virtual_memory().total
V1 = "memory.limit_in_bytes"  # file of cgroups v1
UNLIMITED = 9223372036854771712  # value of cgroups v1 for a group without a limit


def test_cores_are_those_available_to_the_process_or_those_of_the_machine(monkeypatch):
    """macOS and Windows lack os.sched_getaffinity, and cpu_count may return None."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    for counted, cores in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert machine.cores() == cores


def test_without_a_limit_the_memory_is_that_of_the_machine(tmp_path):
    assert machine.memory(tmp_path) == WHOLE >= machine.memory() > 0


@pytest.mark.parametrize(
    ("groups", "limits", "memory"),
    [
        ("0::/", {"memory.max": 1000}, 1000),
        ("0::/a/b", {"a/b/memory.max": 1000}, 1000),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": 3000}, 3000),
        ("0::/a/b", {"a/b/memory.max": 4000, "a/memory.max": 3000}, 3000),
        ("0::/a", {"a/memory.max": "max"}, WHOLE),
        ("0::/outside", {"memory.max": 5000}, 5000),
        (
            "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu:/\n0::/",
            {f"memory/jobs/7/{V1}": 2000, f"memory/{V1}": UNLIMITED},
            2000,
        ),
        ("4:cpu,memory:/outside", {f"memory/{V1}": 6000}, 6000),
        ("4:memory:/", {f"memory/{V1}": UNLIMITED}, WHOLE),
    ],
)
def test_memory_is_given_by_the_smallest_limit(groups, limits, memory, tmp_path):
    files = {f"sys/fs/cgroup/{name}": limit for name, limit in limits.items()}
    for name, text in {"proc/self/cgroup": groups, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert machine.memory(tmp_path) == memory


def test_memory_is_determined_without_a_proc_file_system(monkeypatch):
    def fail():
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    machine.memory.cache_clear()
    assert machine.memory() == pytest.approx(WHOLE, rel=0.01) or machine.memory() < WHOLE


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no such backend\nmore")])
def test_a_missing_platform_raises_an_error(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "local_devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    reason = "no such backend" if str(error) else "AssertionError"
    with pytest.raises(InputError, match=rf"'cuda': JAX cannot use it here \({reason}\); unset"):
        local_devices()
