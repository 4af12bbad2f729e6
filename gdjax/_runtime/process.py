"""Settings of a process that a command or an experiment makes, and the library never does."""

import os

from gdjax._runtime.folders import cache_folder


def own() -> None:
    """Make each core of the CPU a device, and keep compiled programs for the next start.

    This must run before JAX is used. Flags that the user has set in the environment win. For small
    steps one device per core is faster than one device with threads (see `experiments/speed.py`).

    Raises:
        InputError: JAX has no device of the platform that it is told to use.
    """
    # Pictures go to files. A wrong name of a backend would be found only after all work is done.
    os.environ["MPLBACKEND"] = "agg"
    # XLA warns of slow compilations in banners; its errors arrive as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    from gdjax import machine
    from gdjax._runtime.devices import local_devices

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", machine.cores())
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    local_devices()
