"""What commands and experiments do to their own process, and the library never does."""

import os


def own() -> None:
    """Make the CPU's cores into devices, and keep compiled programs for the next start.

    Must come before the first use of JAX. Flags that the user has set in the environment win. One
    core a device beats one device with threads for small steps (see `experiments/speed.py`).
    """
    # Pictures go to files: no window, and no name of a backend that is wrong once work is done.
    os.environ["MPLBACKEND"] = "agg"
    # XLA warns of slow compilations in banners; its errors arrive as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    from gdjax import machine
    from gdjax.data.cache import cache_folder

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", machine.cores())
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
