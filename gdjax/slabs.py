"""Mapping of a function over runs, in slabs of fixed width, on several devices.

    f(run, shared) -> out   becomes   slab(runs, shared) -> outs

The compiled unit is a *slab*: `width` runs per device, mapped by `vmap`, inside `shard_map` if
there are several devices. The last bits of results depend on the width, so it has to be recorded to
reproduce a result. If the matrices of a run do not fill a processor's registers, these bits also
depend on the run's position in the slab. They do not depend on the other runs.

>>> import jax, jax.numpy as jnp
>>> slab = Slab(width=2, devices=tuple(jax.local_devices()[:1]))
>>> squares = Program(over_runs(lambda x, shift: x * x + shift, slab, (0, None)))
>>> squares(slab.place(jnp.arange(2.0)), jnp.ones(())).tolist()
[1.0, 2.0]
>>> in_slabs(squares, slab, jnp.arange(5.0), (jnp.ones(()),)).tolist()
[1.0, 2.0, 5.0, 10.0, 17.0]
"""

import concurrent.futures
import dataclasses
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import PyTree

from gdjax import machine, progress
from gdjax.errors import InputError, explained

RUNS, SHARED = PartitionSpec("runs"), PartitionSpec()

# Settings of JAX that affect numerical results or compilation. Those that only change the text of a
# program are covered by its trace.
NUMERIC_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_threefry_gpu_kernel_lowering",
    "jax_random_seed_offset",
    "jax_high_dynamic_range_gumbel",
    "jax_allow_f16_reductions",
    "jax_compiler_enable_remat_pass",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_effort",
    "jax_memory_fitting_level",
    "jax_optimization_level",
)

# Optimization level 1 of 3; at level 0, the last bits of results differ.
FAST_COMPILATION = {"xla_backend_optimization_level": 1}

OPERATIONS = (
    "expected operations that JAX can compile, differentiate and map over runs (of a callback: "
    "with a vmap_method and a derivative)"
)
DECOMPOSITIONS = re.compile(r"lapack_[a-z](syevd|heevd|gesdd|gesvd|gees|geev)")


class Slab(NamedTuple):
    """Number of runs that each device computes together, and the devices."""

    width: int
    devices: tuple[jax.Device, ...]

    @property
    def runs(self) -> int:
        """Number of runs of a slab, on all of its devices."""
        return self.width * len(self.devices)

    @property
    def mesh(self) -> Mesh:
        """Mesh of the devices with the single axis "runs"."""
        return Mesh(np.array(self.devices), ("runs",))

    def sharding(self, spec: PartitionSpec) -> Sharding:
        """Return the sharding for `RUNS` (with an axis of runs) or `SHARED`."""
        if len(self.devices) == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, spec)

    def place(self, runs: PyTree) -> PyTree:
        """Return copies of arrays of shape [runs, ...], distributed over the devices."""
        # A device may use the memory of a NumPy array, even with `may_alias=False`.
        copies = jax.tree.map(
            lambda a: np.array(a) if isinstance(a, np.ndarray) else jnp.array(a, copy=True), runs
        )
        return jax.device_put(copies, self.sharding(RUNS))

    def filled(self, runs: PyTree, first: int) -> PyTree:
        """Return a slab of runs from `first` on, padded with copies of the last run."""
        count = jax.tree.leaves(runs)[0].shape[0]
        rows = np.minimum(np.arange(first, first + self.runs), count - 1)
        return self.place(jax.tree.map(lambda a: a[rows], runs))

    def share(self, shared: PyTree) -> PyTree:
        """Return copies, on all devices, of arrays that all runs share."""
        return jax.device_put(shared, self.sharding(SHARED))

    def shapes(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        """Return shapes, types and sharding of arrays, without allocating memory."""
        return shapes(tree, self.sharding(spec))


def over_runs(function: Callable, slab: Slab, in_axes: Sequence[int | None]) -> Callable:
    """Return a function of a slab of runs from a function of one run.

    Args:
        function: function of the arguments of one run.
        slab: width and devices.
        in_axes: 0 for each positional argument with a leading axis of runs, None for each argument
            that all runs share.
    """
    batched = jax.vmap(function, in_axes=tuple(in_axes))
    if len(slab.devices) == 1:
        return batched

    def sharded(*arguments):
        # `shard_map` changes the types of arrays, and functions that compare types (such as
        # diffrax's adjoints) reject the changed types, so each device's share is traced here.
        shares = [
            jax.tree.map(partial(_share, None if axis is None else slab.width), argument)
            for argument, axis in zip(arguments, in_axes, strict=True)
        ]
        program, like = jax.make_jaxpr(batched, return_shape=True)(*shares)

        def share(*arguments):
            made = jaxpr_as_fun(program)(*jax.tree.leaves(arguments))
            return jax.tree.unflatten(jax.tree.structure(like), made)

        specs = tuple(SHARED if axis is None else RUNS for axis in in_axes)
        return jax.shard_map(
            share, mesh=slab.mesh, in_specs=specs, out_specs=RUNS, check_vma=False
        )(*arguments)

    return sharded


def _share(width, array):
    """Return shape and type of one device's share of an array.

    If width is None, the share is the whole array. The sharding is omitted, since it differs
    inside `shard_map`.
    """
    shape = array.shape if width is None else (width, *array.shape[1:])
    return jax.ShapeDtypeStruct(shape, array.dtype, weak_type=_is_weak(array))


class Bytes(NamedTuple):
    """Memory of a program per device in bytes: temporary, and in total."""

    scratch: int
    total: int


@dataclasses.dataclass(frozen=True)
class Compiled:
    """An executable, and the hash of the lowered program's text, 16 hex digits."""

    executable: Any
    hash: str

    def __call__(self, *arguments: PyTree) -> PyTree:
        return self.executable(*arguments)

    @cached_property
    def bytes(self) -> Bytes:
        """Memory that the program needs on each device."""
        sizes = self.executable.memory_analysis()
        total = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
        total += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
        return Bytes(sizes.temp_size_in_bytes, total)


class Program:
    """A function, compiled once per kind of arguments and configuration of JAX.

    Arguments of one kind have equal structures, shapes, types and shardings. The attribute
    `seconds` is the total time that `compile` has spent on programs or on waiting for them.

    Args:
        function: pure function of arrays. On several CPU devices it must not use LAPACK's
            eigenvalues or singular values; compiling such a function raises an InputError.
        donate: positions of arguments whose memory the results may reuse.
        once: whether to compile with fewer optimizations, for a program that is called once. Random
            numbers take the longest to compile: the initial weights of a network took 1.4 s of
            processor time, and take 0.5 s with this option, with bitwise equal results.
    """

    def __init__(self, function: Callable, *, donate: tuple[int, ...] = (), once: bool = False):
        self.jitted = jax.jit(function, donate_argnums=donate)
        self.once = once
        self.compiled: dict[Any, Compiled] = {}
        self.seconds = 0.0
        self._results: dict[Any, PyTree] = {}

    def compile(self, *arguments: PyTree) -> Compiled:
        """Return the executable for these arguments (arrays or shapes), compiled once."""
        signature = _signature(arguments)
        started = time.perf_counter()
        if signature not in self.compiled:
            _check_jit()
            with explained("cost or metric: could not be compiled", OPERATIONS):
                lowered = self.jitted.lower(*arguments)
            digest = _hash(lowered, arguments)
            self.compiled[signature] = Compiled(self._compile(lowered), digest)
            self.seconds += time.perf_counter() - started
        compiled = self.compiled[signature]
        if isinstance(compiled.executable, concurrent.futures.Future):
            compiled = Compiled(compiled.executable.result(), compiled.hash)
            self.compiled[signature] = compiled
            self.seconds += time.perf_counter() - started
        return compiled

    def results(self, *arguments: PyTree) -> PyTree:
        """Return the shapes and types of the results for these arguments, traced once."""
        signature = _signature(arguments)
        if signature not in self._results:
            self._results[signature] = jax.eval_shape(self.jitted, *arguments)
        return self._results[signature]

    def ahead(self, *arguments: PyTree) -> bool:
        """Start compiling for these arguments in a thread, for which `compile` waits.

        The function is traced in the caller's thread, under its settings.

        Returns:
            Whether the program was not known yet.
        """
        signature = _signature(arguments)
        is_new = signature not in self.compiled
        if is_new:
            _check_jit()
            with explained("cost or metric: could not be compiled", OPERATIONS):
                lowered = self.jitted.lower(*arguments)
            digest = _hash(lowered, arguments)
            pool = concurrent.futures.ThreadPoolExecutor(1)
            self.compiled[signature] = Compiled(pool.submit(self._compile, lowered), digest)
            pool.shutdown(wait=False)
        return is_new

    def _compile(self, lowered):
        unoptimized = jax.config.read("jax_disable_most_optimizations")
        return lowered.compile(FAST_COMPILATION if self.once and not unoptimized else None)

    def __call__(self, *arguments: PyTree) -> PyTree:
        # NaN and infinity are valid results, for values that are not recorded and for diverged
        # runs.
        with jax.debug_nans(False), jax.debug_infs(False):
            return self.compile(*arguments).executable(*arguments)


def _check_jit():
    """Check that JAX compiles functions, which `jax_disable_jit` prevents."""
    if getattr(jax.config, "jax_disable_jit"):  # noqa: B009
        raise InputError(
            "jax_disable_jit = True, expected False, since runs are compiled programs; unset "
            "JAX_DISABLE_JIT, and debug single steps with gd.descent.step"
        )


def _hash(lowered, arguments):
    """Return the hash of a program, after checking that it cannot deadlock."""
    text = lowered.as_text()
    _check_decompositions(text, jax.tree.leaves(arguments))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compiled_config() -> tuple[Any, ...]:
    """Return the settings of JAX on which a compiled program depends."""
    return tuple(getattr(jax.config, name, None) for name in NUMERIC_SETTINGS)


def _signature(arguments):
    """Return the configuration and argument properties that determine a program."""
    leaves, structure = jax.tree.flatten(arguments)
    return (
        compiled_config(),
        structure,
        tuple((a.shape, a.dtype, _is_weak(a), getattr(a, "sharding", None)) for a in leaves),
    )


def _check_decompositions(text: str, leaves: Sequence[Any]) -> None:
    """Reject a program that could deadlock.

    On CPUs, LAPACK's eigenvalue and singular value routines wait for threads of the pool in which
    they run. If several devices compute them at once, no thread may be available. A single device
    can use all threads of the pool. For LAPACK's factorizations (QR, LU, Cholesky) no deadlock has
    been observed.
    """
    shardings = (getattr(array, "sharding", None) for array in leaves)
    devices = {device for sharding in shardings if sharding for device in sharding.device_set}
    if len(devices) < 2 or all(device.platform != "cpu" for device in devices):
        return
    if DECOMPOSITIONS.search(text):
        raise InputError(
            f"devices: a program for {len(devices)} CPU devices uses LAPACK's eigenvalues or "
            f"singular values, which can deadlock on several devices; use one device "
            f"(devices=jax.local_devices()[:1], or leave jax_num_cpu_devices at 1), or a solver "
            f"that uses only matrix products"
        )


def shapes(tree: PyTree, sharding: Sharding | None = None) -> PyTree:
    """Return the shapes and types that arrays have in JAX, without allocating memory.

    Args:
        tree: pytree of arrays or of their shapes.
        sharding: sharding of the results; None for none.
    """

    def shape(array):
        try:
            like = array if isinstance(array, jax.ShapeDtypeStruct) else jax.typeof(array)
        except TypeError:  # another library's array, which only `asarray` converts
            like = jax.eval_shape(jnp.asarray, array)
        return jax.ShapeDtypeStruct(
            like.shape, like.dtype, sharding=sharding, weak_type=_is_weak(like)
        )

    return jax.tree.map(shape, tree)


def _is_weak(array):
    return getattr(array, "weak_type", False)  # keys have no weak type


def in_slabs(
    program: Callable, slab: Slab, runs: PyTree, shared: Sequence[PyTree] = (), *, unit: str = "run"
) -> PyTree:
    """Run the program of a slab on any number of runs, one slab after another.

    The last slab is padded (see `Slab.filled`). On a terminal, a progress bar appears after two
    seconds.

    Args:
        program: program of one slab, `program(runs, *shared) -> outs`.
        slab: width and devices.
        runs: arrays with a leading axis of runs, at least one run.
        shared: arrays that all runs share, on the slab's devices.
        unit: name of a run in the progress bar.

    Returns:
        The results of all runs, as arrays on the host, with a leading axis of runs.
    """
    runs = jax.tree.map(lambda a: a if _is_key(a) else np.asarray(a), runs)
    count = jax.tree.leaves(runs)[0].shape[0]
    results = []
    with progress.bar(total=count, unit=unit) as bar:
        for first in range(0, count, slab.runs):
            slab_runs = slab.filled(runs, first)
            results.append(jax.tree.map(np.asarray, program(slab_runs, *shared)))
            bar.update(min(slab.runs, count - first))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *results)


def _is_key(array):
    return jax.dtypes.issubdtype(getattr(array, "dtype", None), jax.dtypes.prng_key)


def memory_limit(device: jax.Device) -> int:
    """Return the memory limit of a device in bytes, or else that of the host."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return machine.memory()
