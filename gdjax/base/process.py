"""Process settings made by commands and experiments, but never by the library."""

import os


def configure(doing: str = "starting") -> None:
    """Make each core of the CPU a device, and cache compiled programs on disk.

    Call this before JAX is initialized. Environment variables set by the user take precedence,
    except MPLBACKEND. For small steps, one device per core is faster than one device with threads
    (see `experiments/speed`).

    Args:
        doing: what is shown while the libraries are imported, which takes seconds.
    """
    # Figures are saved to files. An invalid backend would cause an error only after all
    # computations.
    os.environ["MPLBACKEND"] = "agg"
    # XLA prints banners about slow compilations; its errors are raised as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from gdjax.base import machine, progress

    with progress.bar(doing, total=1, unit="command", delay=0):
        import jax
        import optax  # noqa: F401 (imported here since it is slow)

        from gdjax.base.devices import local_devices

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", machine.cores())
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(machine.cache_folder() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    local_devices()
