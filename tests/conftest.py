"""Strict flags for every test: shapes checked, rank promotion an error, warnings errors."""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import jax
import pytest
from jaxtyping import install_import_hook

# Where tests are started by `nohup` or in the background of a script, all would ignore Ctrl-C, the
# processes that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CACHE = Path(__file__).parent.parent / ".jax_cache"

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))  # for processes that tests start
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

_hook = install_import_hook("gdjax", "beartype.beartype")
_hook.__enter__()  # left open: gdjax's modules are imported lazily, all along the session

# Where compiling takes most of the time, and no bits are compared with those of another process.
QUICKLY = {"cli", "experiments", "geometry", "minima", "problems", "test_advice"}


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly(request):
    """Half the compiler's work is left out where a test runs its programs but once."""
    quickly = not QUICKLY.isdisjoint({request.path.parent.name, request.path.stem})
    if quickly == jax.config.read("jax_disable_most_optimizations"):
        return
    jax.config.update("jax_disable_most_optimizations", quickly)
    # What is compiled is not compiled again because a flag has changed.
    jax.clear_caches()
    for name in [name for name in sys.modules if name.startswith("gdjax.")]:
        for entry in vars(sys.modules[name]).values():
            getattr(entry, "cache_clear", lambda: None)()


@pytest.fixture
def own_nothing(monkeypatch):
    """A command that is called in this process leaves its devices as they are: the suite's."""
    monkeypatch.setattr("gdjax.cli.process.own", lambda: None)
