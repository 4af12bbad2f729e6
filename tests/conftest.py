"""Strict flags for every test: shapes checked, rank promotion an error, warnings errors."""

import ctypes
import gc
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
# Where Python is told to keep no bytecode, each of the processes that tests start would compile all
# libraries anew: three seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Tests run most of their programs once: half of the compiler's work is left out, in the processes
# that they start, too, so that bits can be compared. With 0 they run as a user's programs do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0" and version("jaxlib").startswith("0.10."):
    # XLA's older emitters take a third less time, later versions end at a flag they do not know.
    os.environ["XLA_FLAGS"] = " ".join(
        (
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        )
    ).strip()

import jax
import psutil
import pytest
from jaxtyping import install_import_hook

# Where tests are started by `nohup` or in the background of a script, all would ignore Ctrl-C, the
# processes that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MOST = 10**9  # bytes that a worker may take before it lets go of its programs
CACHE = Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))  # for processes that tests start
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_traceback_in_locations_limit", 0)  # nobody reads where an operation was made

_hook = install_import_hook("gdjax", "beartype.beartype")
_hook.__enter__()  # left open: gdjax's modules are imported lazily, all along the session


def pytest_collection_finish():
    """What has been imported stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


class LettingGo:
    """After a file a worker lets go of its programs: those of all files would be 4 GB."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item, nextitem):
        if nextitem is not None and nextitem.path == item.path:
            return
        if psutil.Process().memory_info().rss > MOST:
            jax.clear_caches()
            gc.collect()
            if sys.platform == "linux" and (
                trim := getattr(ctypes.CDLL(None), "malloc_trim", None)
            ):
                trim(0)  # what the compiler has freed would stay with the process


def pytest_configure(config):
    """A plugin, not a fixture of this folder: the examples in the library's docstrings, too."""
    config.pluginmanager.register(LettingGo())


@pytest.fixture
def own_nothing(monkeypatch):
    """A command that is called in this process leaves its devices as they are: the suite's."""
    monkeypatch.setattr("gdjax._runtime.process.configure", lambda: None)


@pytest.fixture
def undrawn(monkeypatch):
    """A command makes its figures, and empty files: to draw them takes longer than all else."""
    monkeypatch.setattr("gdjax._runtime.results.save_figure", lambda figure, file: file.touch())
