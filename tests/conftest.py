"""Settings of the test suite, in which warnings and rank promotion are errors."""

import ctypes
import gc
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
# Without stored bytecode, each process that a test starts would compile all libraries again, which
# takes three seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Tests run most of their programs once, so most of the compiler's optimizations are disabled. The
# processes that tests start inherit this, so that results can be compared bitwise. Set this
# variable to 0 to compile programs with all optimizations, as for users.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "0" and version("jaxlib").startswith("0.10."):
    # XLA's older emitters compile in a third less time. Later versions of jaxlib abort, since they
    # do not know these flags.
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    if flags not in os.environ.get("XLA_FLAGS", ""):  # workers inherit the variable
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()

import jax
import psutil
import pytest
from jaxtyping import install_import_hook

# If tests are started by `nohup` or in the background of a script, they and the processes that
# they start would ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MAX_WORKER_BYTES = 2_500_000_000  # a worker that uses more memory clears its caches
HERE = Path(__file__).parent
CACHE = HERE.parent / ".jax_cache"
# Folders and files whose tests are all long.
LONG = {
    HERE / name
    for name in (
        "base/test_interrupts.py",
        "descent/test_optimizers.py",
        "experiments",
        "minima/test_census.py",
        "models",
        "pages/test_browser.py",
        "pages/test_compared.py",
        "pages/test_lesson.py",
        "pages/test_settings.py",
        "stores/test_object_stores.py",
        "stores/test_store_interrupted.py",
        "sweeps/test_cluster.py",
        "sweeps/test_sweep_interrupted.py",
    )
}

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))  # for processes that tests start
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_traceback_in_locations_limit", 0)  # source locations are not needed

if os.environ.get("CHECK_ANNOTATIONS"):  # takes a quarter more time; `.ci/run` does it once
    _hook = install_import_hook("gdjax", "beartype.beartype")
    _hook.__enter__()  # not closed, since modules of gdjax are imported lazily


def pytest_addoption(parser):
    """Add an option for tests that compare with a file."""
    parser.addoption("--regenerate", action="store_true", help="write files of golden numbers anew")


def pytest_ignore_collect(collection_path, config):
    """Do not import modules of long tests, which takes seconds, if long tests are not selected."""
    if config.option.markexpr == "not long" and collection_path in LONG:
        return True
    return None


@pytest.hookimpl(tryfirst=True)  # before items are deselected by their markers
def pytest_collection_modifyitems(items):
    """Mark examples in docstrings, and the tests of the folders and files above, as long."""
    for item in items:
        if isinstance(item, pytest.DoctestItem) or {item.path, *item.path.parents} & LONG:
            item.add_marker("long")


def pytest_collection_finish():
    """Exclude the imported modules from garbage collection."""
    gc.collect()
    gc.freeze()


class CacheClearing:
    """Plugin that limits the memory of compiled programs, which would otherwise reach 4 GB."""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item, nextitem):
        if nextitem is not None and nextitem.path == item.path:
            return
        if psutil.Process().memory_info().rss > MAX_WORKER_BYTES:
            jax.clear_caches()
            gc.collect()
            if sys.platform == "linux" and (
                trim := getattr(ctypes.CDLL(None), "malloc_trim", None)
            ):
                trim(0)  # return the memory that the compiler has freed


def pytest_configure(config):
    """Register a plugin rather than a fixture, so that it also covers doctests."""
    config.pluginmanager.register(CacheClearing())


@pytest.fixture
def compilations():
    """Return a list that collects the seconds of each compilation of a program."""
    compiled = []

    def listen(name, duration, **_):
        if name == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def python_handler():
    """Make Ctrl-C raise KeyboardInterrupt, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def float64():
    """Enable 64-bit types during a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(autouse=True, scope="session")
def keep_devices():
    """Prevent commands in this process from changing the devices of the suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gdjax.base.process.configure", lambda *_: None)
        yield


@pytest.fixture
def empty_figures(monkeypatch):
    """Make commands write empty figure files, since drawing takes most of their time."""
    monkeypatch.setattr("gdjax.base.results.save_figure", lambda figure, file: file.touch())
