"""Map a function over runs: slabs of fixed width, devices, memory, donation.

    f(run, shared) -> out   becomes   slab(runs, shared) -> outs

The compiled unit is a *slab*: `width` runs on each of some devices, by `vmap`, and by `shard_map`
around it where there are several. Compiled results differ in the last bits with the width, so the
width is part of what has to be recorded to have a result again; where the matrices of a run do not
fill a processor's registers, so is the slot. What other runs are computed beside it changes no bit.

>>> import jax, jax.numpy as jnp
>>> slab = Slab(width=2, devices=tuple(jax.local_devices()[:1]))
>>> squares = Program(over_runs(lambda x, shift: x * x + shift, slab, (0, None)))
>>> squares(slab.place(jnp.arange(2.0)), jnp.ones(())).tolist()
[1.0, 2.0]
>>> in_slabs(squares, slab, jnp.arange(5.0), (jnp.ones(()),)).tolist()
[1.0, 2.0, 5.0, 10.0, 17.0]
"""

import concurrent.futures
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding
from jaxtyping import PyTree

from gdjax import machine, progress
from gdjax.errors import InputError

RUNS, SHARED = PartitionSpec("runs"), PartitionSpec()

# What a user may have set around a call, by `jax.enable_x64` and its like.
AROUND = ("jax_enable_x64", "jax_default_matmul_precision")

LESS = {"xla_backend_optimization_level": 1}  # of 3; at 0 numbers differ in their last bits

DECOMPOSITIONS = re.compile(r"lapack_[a-z](syevd|heevd|gesdd|gesvd|gees|geev)")


class Slab(NamedTuple):
    """How many runs a device computes at a time, and on which devices."""

    width: int
    devices: tuple[jax.Device, ...]

    @property
    def runs(self) -> int:
        """Runs in one slab, over all its devices."""
        return self.width * len(self.devices)

    @property
    def mesh(self) -> Mesh:
        """The devices as a mesh with the one axis "runs"."""
        return Mesh(np.array(self.devices), ("runs",))

    def sharding(self, spec: PartitionSpec) -> Sharding:
        """Where arrays lie: `RUNS`, those with a leading axis of runs, or `SHARED`, by all."""
        if len(self.devices) == 1:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, spec)

    def place(self, runs: PyTree) -> PyTree:
        """Copies of arrays [runs, ...], laid out over the devices; the caller's stay alive."""
        return jax.device_put(
            jax.tree.map(lambda a: jnp.array(a, copy=True), runs), self.sharding(RUNS)
        )

    def filled(self, runs: PyTree, first: int) -> PyTree:
        """The slab that begins at run `first`; copies of the last run fill up what is missing."""
        count = jax.tree.leaves(runs)[0].shape[0]
        rows = np.minimum(np.arange(first, first + self.runs), count - 1)
        return self.place(jax.tree.map(lambda a: a[rows], runs))

    def share(self, shared: PyTree) -> PyTree:
        """Arrays that every run sees, on all the devices."""
        return jax.device_put(shared, self.sharding(SHARED))

    def shapes(self, tree: PyTree, spec: PartitionSpec) -> PyTree:
        """Shapes, types and placement that arrays will have, without their memory."""
        sharding = self.sharding(spec)
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(
                a.shape, a.dtype, sharding=sharding, weak_type=_is_weak(a)
            ),
            jax.eval_shape(lambda tree: jax.tree.map(jnp.asarray, tree), tree),
        )


def over_runs(function: Callable, slab: Slab, in_axes: Sequence[int | None]) -> Callable:
    """`function` of one run as a function of a slab of runs.

    Args:
        function: written for one run.
        slab: width and devices.
        in_axes: 0 for each positional argument that has a leading axis of runs, None for each
            that all runs share.
    """
    batched = jax.vmap(function, in_axes=tuple(in_axes))
    if len(slab.devices) == 1:
        return batched

    def sharded(*arguments):
        # Inside `shard_map` arrays have other types than outside, which functions that compare
        # types refuse (diffrax's adjoints, by Equinox): so each device's share is traced here.
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
    """Shape and type of one device's share of an array [runs, ...]; of all of it if width is None.

    Without the placement, which is another one inside `shard_map`.
    """
    shape = array.shape if width is None else (width, *array.shape[1:])
    return jax.ShapeDtypeStruct(shape, array.dtype, weak_type=_is_weak(array))


class Bytes(NamedTuple):
    """Memory of a program on a device: what it needs on its way, and with all that it is given."""

    scratch: int
    total: int


class Program:
    """A function that is compiled once for each set of argument shapes, and knows how long it took.

    Args:
        function: pure, of arrays. On several CPU devices it may not ask LAPACK for eigenvalues
            or singular values: that is an InputError when it is compiled.
        donate: positions of arguments whose memory the results may take over.
        once: whether a call takes less time than the compiler would spend on making it faster.
            Random numbers are the dearest to compile: a network's normals took 1.4 s of processor
            time, 0.5 s this way, to the same bits.
    """

    def __init__(self, function: Callable, *, donate: tuple[int, ...] = (), once: bool = False):
        self.jitted = jax.jit(function, donate_argnums=donate)
        self.once = once
        self.compiled: dict[Any, Any] = {}
        self.seconds = 0.0

    def compile(self, *arguments: PyTree) -> Any:
        """The executable for these arguments (arrays, or shapes), compiled if it is new."""
        return self._found(arguments)[0]

    def ahead(self, *arguments: PyTree) -> None:
        """Begin to compile for these arguments in a thread; who asks for the program waits for it.

        It is traced here, under the settings of the caller's thread.
        """
        signature = _signature(arguments)
        if signature not in self.compiled:
            lowered, digest = self._lowered(arguments)
            pool = concurrent.futures.ThreadPoolExecutor(1)
            self.compiled[signature] = pool.submit(self._compiled, lowered), digest
            pool.shutdown(wait=False)

    def bytes(self, *arguments: PyTree) -> Bytes:
        """Memory that the program needs on each of its devices; compiles it if it is new."""
        found = self.compile(*arguments).memory_analysis()
        total = found.argument_size_in_bytes + found.output_size_in_bytes
        total += found.temp_size_in_bytes - found.alias_size_in_bytes
        return Bytes(found.temp_size_in_bytes, total)

    def hash(self, *arguments: PyTree) -> str:
        """Hash of the program before compilation, 16 hex digits: the same text, the same hash."""
        return self._found(arguments)[1]

    def _found(self, arguments):
        signature = _signature(arguments)
        begun = time.perf_counter()
        if signature not in self.compiled:
            lowered, digest = self._lowered(arguments)
            self.compiled[signature] = self._compiled(lowered), digest
            self.seconds += time.perf_counter() - begun
        executable, digest = self.compiled[signature]
        if isinstance(executable, concurrent.futures.Future):
            self.compiled[signature] = executable.result(), digest
            self.seconds += time.perf_counter() - begun
        return self.compiled[signature]

    def _lowered(self, arguments):
        lowered = self.jitted.lower(*arguments)
        text = lowered.as_text()
        _check_decompositions(text, jax.tree.leaves(arguments))
        return lowered, hashlib.sha256(text.encode()).hexdigest()[:16]

    def _compiled(self, lowered):
        least = jax.config.read("jax_disable_most_optimizations")
        return lowered.compile(LESS if self.once and not least else None)

    def __call__(self, *arguments: PyTree) -> PyTree:
        return self._found(arguments)[0](*arguments)


def _signature(arguments):
    """What a program is compiled anew for."""
    leaves, structure = jax.tree.flatten(arguments)
    return (
        *(getattr(jax.config, name) for name in AROUND),
        structure,
        tuple((a.shape, a.dtype, _is_weak(a), getattr(a, "sharding", None)) for a in leaves),
    )


def _check_decompositions(text: str, leaves: Sequence[Any]) -> None:
    """Refuse a program that could stand still for ever.

    On CPUs LAPACK's eigenvalues and singular values wait for threads of the pool in which they run
    themselves; where several devices ask for them at once, none may be left. One device has the
    whole pool. Its factorisations (QR, LU, Cholesky) have not been seen to wait.
    """
    placed = (getattr(array, "sharding", None) for array in leaves)
    devices = {device for sharding in placed if sharding for device in sharding.device_set}
    if len(devices) < 2 or all(device.platform != "cpu" for device in devices):
        return
    if DECOMPOSITIONS.search(text):
        raise InputError(
            f"devices: a program for {len(devices)} CPU devices asks LAPACK for eigenvalues or "
            f"singular values, and several at once can wait for each other for ever; take one "
            f"device (devices=jax.local_devices()[:1], or jax_num_cpu_devices left at 1), or a "
            f"solver that is made of matrix products"
        )


def shapes(tree: PyTree) -> PyTree:
    """Shapes, types and placement of arrays, without their memory."""
    return jax.tree.map(
        lambda a: (
            jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding, weak_type=_is_weak(a))
            if isinstance(a, jax.Array)
            else a
        ),
        tree,
    )


def _is_weak(array):
    return getattr(array, "weak_type", False)  # keys have none


def in_slabs(
    program: Callable, slab: Slab, runs: PyTree, shared: Sequence[PyTree] = (), *, unit: str = "run"
) -> PyTree:
    """Any number of runs through the program of a slab, one slab after another.

    The last slab is filled up (see `Slab.filled`). On a terminal, a progress bar shows after two
    seconds how many are done.

    Args:
        program: `program(runs, *shared) -> outs`, of a slab of runs.
        slab: width and devices.
        runs: arrays with a leading axis of runs, at least one.
        shared: what all runs see, on the slab's devices.
        unit: what a run is called in the bar.

    Returns:
        The outs of all runs, as arrays on the host.
    """
    runs = jax.tree.map(lambda a: a if _is_key(a) else np.asarray(a), runs)
    count = jax.tree.leaves(runs)[0].shape[0]
    found = []
    with progress.bar(total=count, unit=unit) as bar:
        for first in range(0, count, slab.runs):
            some = slab.filled(runs, first)
            found.append(jax.tree.map(np.asarray, program(some, *shared)))
            bar.update(min(slab.runs, count - first))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *found)


def _is_key(array):
    return jax.dtypes.issubdtype(getattr(array, "dtype", None), jax.dtypes.prng_key)


def memory_limit(device: jax.Device) -> int:
    """Bytes that programs may use on a device: its own limit, or what the host grants."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return machine.memory()
