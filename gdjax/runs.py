"""Map a function over runs: slabs of fixed width, devices, memory, donation.

    f(run, shared) -> out   becomes   slab(runs, shared) -> outs

The compiled unit is a *slab*: `width` runs on each of some devices, by `vmap` inside and
`shard_map` outside. Compiled results differ in the last bits with the width, so the width is part
of what has to be recorded to have a result again; within a slab every slot gives the same bits.

>>> import jax, jax.numpy as jnp
>>> slab = Slab(width=2, devices=tuple(jax.local_devices()[:1]))
>>> squares = Program(over_runs(lambda x, shift: x * x + shift, slab, (0, None)))
>>> squares(slab.place(jnp.arange(2.0)), jnp.ones(())).tolist()
[1.0, 2.0]
>>> in_slabs(squares, slab, jnp.arange(5.0), (jnp.ones(()),)).tolist()
[1.0, 2.0, 5.0, 10.0, 17.0]
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key, PyTree
from tqdm import tqdm

from gdjax import machine
from gdjax.errors import InputError

# What a user may have set around a call, by `jax.enable_x64` and its like.
AROUND = ("jax_enable_x64", "jax_default_matmul_precision")


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

    def place(self, runs: PyTree) -> PyTree:
        """Copies of arrays [runs, ...], laid out over the devices; the caller's stay alive."""
        return jax.device_put(
            jax.tree.map(lambda a: jnp.array(a, copy=True), runs),
            NamedSharding(self.mesh, PartitionSpec("runs")),
        )

    def filled(self, runs: PyTree, first: int) -> PyTree:
        """The slab that begins at run `first`; copies of the last run fill up what is missing."""
        count = jax.tree.leaves(runs)[0].shape[0]
        rows = np.minimum(np.arange(first, first + self.runs), count - 1)
        return self.place(jax.tree.map(lambda a: a[rows], runs))

    def share(self, shared: PyTree) -> PyTree:
        """Arrays that every run sees, on all the devices."""
        return jax.device_put(shared, NamedSharding(self.mesh, PartitionSpec()))


def over_runs(function: Callable, slab: Slab, in_axes: Sequence[int | None]) -> Callable:
    """`function` of one run as a function of a slab of runs.

    Args:
        function: written for one run.
        slab: width and devices.
        in_axes: 0 for each positional argument that has a leading axis of runs, None for each
            that all runs share.
    """
    batched = jax.vmap(function, in_axes=tuple(in_axes))
    specs = tuple(PartitionSpec() if axis is None else PartitionSpec("runs") for axis in in_axes)
    return jax.shard_map(
        batched, mesh=slab.mesh, in_specs=specs, out_specs=PartitionSpec("runs"), check_vma=False
    )


class Program:
    """A function that is compiled once for each set of argument shapes, and knows how long it took.

    Args:
        function: pure, of arrays.
        donate: positions of arguments whose memory the results may take over.
    """

    def __init__(self, function: Callable, *, donate: tuple[int, ...] = ()):
        self.jitted = jax.jit(function, donate_argnums=donate)
        self.compiled: dict[Any, Any] = {}
        self.seconds = 0.0

    def compile(self, *arguments: PyTree) -> Any:
        """The executable for these arguments (arrays, or shapes), compiled if it is new."""
        return self._found(arguments)[0]

    def hash(self, *arguments: PyTree) -> str:
        """Hash of the program before compilation, 16 hex digits: the same text, the same hash."""
        return self._found(arguments)[1]

    def _found(self, arguments):
        leaves, structure = jax.tree.flatten(arguments)
        signature = (
            *(getattr(jax.config, name) for name in AROUND),
            structure,
            tuple(
                (a.shape, a.dtype, getattr(a, "weak_type", False), getattr(a, "sharding", None))
                for a in leaves
            ),
        )
        if signature not in self.compiled:
            start = time.perf_counter()
            lowered = self.jitted.lower(*arguments)
            text = lowered.as_text().encode()
            digest = hashlib.sha256(text).hexdigest()[:16]
            self.compiled[signature] = lowered.compile(), digest
            self.seconds += time.perf_counter() - start
        return self.compiled[signature]

    def __call__(self, *arguments: PyTree) -> PyTree:
        return self._found(arguments)[0](*arguments)


def shapes(tree: PyTree) -> PyTree:
    """Shapes, types and placement of arrays, without their memory."""
    return jax.tree.map(
        lambda a: (
            jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding, weak_type=a.weak_type)
            if isinstance(a, jax.Array)
            else a
        ),
        tree,
    )


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
    with tqdm(total=count, unit=unit, delay=2, disable=None, leave=False) as bar:
        for first in range(0, count, slab.runs):
            some = slab.filled(runs, first)
            found.append(jax.tree.map(np.asarray, program(some, *shared)))
            bar.update(min(slab.runs, count - first))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *found)


def _is_key(array):
    return jax.dtypes.issubdtype(getattr(array, "dtype", None), jax.dtypes.prng_key)


class Streams(NamedTuple):
    """Independent sources of randomness, the same in `train`, `sweep` and `replay`."""

    init: Key[Array, "*runs"]
    order: Key[Array, "*runs"]
    probes: Key[Array, "*runs"]


def streams(
    root: int,
    seed: int | Int[np.ndarray, "*runs"] = 0,
    data_seed: int | Int[np.ndarray, "*runs"] = 0,
) -> Streams:
    """The keys of a run: its starting point, its order of mini-batches, its random probes.

    The one place where integers become keys. The starting point depends on `seed` only, the order
    on `data_seed` only, whatever else runs beside it.

    Args:
        root: seed of the whole study, in [0, 2^32).
        seed: which starting point, in [0, 2^32); an array of them gives an array of keys.
        data_seed: which order of mini-batches, likewise.

    Raises:
        InputError: a seed that is not a whole number in [0, 2^32), or is not known yet, inside of
            `jit` or `vmap`.

    Examples:
        >>> a, b = streams(0, seed=1), streams(0, seed=2)
        >>> bool(jnp.all(a.order == b.order)), bool(jnp.all(a.init == b.init))
        (True, False)
    """
    for name, value in (("root", root), ("seed", seed), ("data_seed", data_seed)):
        if isinstance(value, Tracer):
            raise InputError(
                f"streams: {name} is traced, and seeds are checked; call streams outside of jit "
                f"and vmap, with an array of seeds, and map over its keys"
            )
        numbers = np.asarray(value)
        if numbers.dtype.kind not in "iu" or np.any(numbers < 0) or np.any(numbers >= 2**32):
            raise InputError(f"streams: {name} = {value!r}, expected a whole number in [0, 2^32)")

    def folded(base, number):
        numbers = np.asarray(number, np.uint32)
        fold = jax.random.fold_in
        return (
            fold(base, numbers) if numbers.ndim == 0 else jax.vmap(fold, (None, 0))(base, numbers)
        )

    base = jax.random.key(np.uint32(root))
    init, order, probes = (jax.random.fold_in(base, stream) for stream in range(3))
    return Streams(folded(init, seed), folded(order, data_seed), folded(probes, seed))


def memory_limit(device: jax.Device) -> int:
    """Bytes that programs may use on a device: its own limit, or what the host grants."""
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return machine.memory()
