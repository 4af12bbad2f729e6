"""What commands and experiments do to their own process, and the library never does."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


def own() -> None:
    """Make the CPU's cores into devices, and keep compiled programs for the next start.

    Must come before the first use of JAX. Flags that the user has set in the environment win. One
    core a device beats one device with threads for small steps (see `experiments/speed.py`).
    """
    import jax

    from gdjax.problems.datasets import cache_folder

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextmanager
def resumable(command: str) -> Generator[None]:
    """Around long work: after Ctrl-C, say how to go on and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was done is kept. Go on with:  {command}", file=sys.stderr)
        raise SystemExit(130) from None
