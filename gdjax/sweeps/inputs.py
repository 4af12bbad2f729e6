"""What a slab of runs is given: starting points, settings, orders of mini-batches, noise, data.

    run (seed, data_seed, noise_seed, settings) -> keys from streams of the sweep's root, numbers

Each follows from a run's own values alone, never from its neighbours.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from gdjax import slabs
from gdjax.descent import block, block_loop
from gdjax.descent.batches import Order
from gdjax.keys import streams
from gdjax.problems.keywords import GIVEN_TO_METRICS, given_to
from gdjax.sweeps.keywords import by_role, numbers
from gdjax.sweeps.specification import Specification

ORDER_NUMBERS = 2**22  # sample numbers a block holds where every run has its own order

Values = Mapping[str, np.ndarray]
"""Values of a slab's runs, by axis."""


@dataclasses.dataclass(frozen=True, eq=False)
class Inputs:
    """What the runs of a sweep are given, slab by slab.

    Args:
        sweep: what is swept.
        slab: width and devices.
    """

    sweep: Specification
    slab: slabs.Slab

    @property
    def own_order(self) -> bool:
        """Whether runs differ in their order of mini-batches."""
        return self.sweep.batch_size is not None and "data_seed" in self.sweep.roles

    @property
    def own_noise(self) -> bool:
        """Whether runs differ in what a random cost draws."""
        what = self.sweep
        return what.problem.random and not what.roles.keys().isdisjoint(("seed", "noise_seed"))

    def settings(self, values: Values) -> dict[str, dict[str, np.ndarray]]:
        """Swept values by role and keyword, in JAX's default types."""
        read = {a: v for a, v in values.items() if a in numbers(self.sweep.roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in read.items()}
        return by_role(self.sweep.roles, cast)

    def probes(self, values: Values) -> dict[str, Key[Array, " runs"]]:
        """Keys of what metrics draw, for the settings of a slab of runs; none where none is."""
        watched = self.sweep.watched.values()
        if not any("key" in given_to(m.function, GIVEN_TO_METRICS) for m in watched):
            return {}
        seeds = values.get("seed", np.zeros(self.slab.runs, np.int64))
        return {"probes": streams(self.sweep.root_seed, seed=seeds).probes}

    @cached_property
    def on_host(self) -> block.Shared:
        """The data that all runs see."""
        what = self.sweep
        return block.shared_arrays(
            what.problem,
            what.watched,
            what.block_config,
            batch_size=what.batch_size,
            record_samples=what.record_samples,
        )

    @cached_property
    def shared(self) -> block.Shared:
        """The data, on the slab's devices."""
        return self.slab.share(jax.tree.map(jnp.asarray, self.on_host))

    def placed(self, values: Values) -> tuple[PyTree, PyTree]:
        """Keys of the starting points, and settings, of a slab of runs."""
        seeds = values.get("seed", np.zeros(self.slab.runs, np.int64))
        starts = streams(self.sweep.root_seed, seed=seeds).init
        settings = {**self.settings(values), **self.probes(values)}
        return self.slab.place(starts), self.slab.place(settings)

    def noise(self, values: Values) -> Key[Array, "*runs"] | None:
        """Keys of what a random cost draws: one for all runs, or one a run; None where none is."""
        if not self.sweep.problem.random:
            return None
        if not self.own_noise:
            return self.slab.share(streams(self.sweep.root_seed).noise)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        noise = streams(self.sweep.root_seed, seed=seed, noise_seed=noise_seed).noise
        return self.slab.place(noise)

    @property
    def rows(self) -> int:
        """Mini-batches that a block has room for."""
        batch = self.sweep.batch_size
        if batch is None or not self.own_order:
            return block_loop.MAX_BLOCK_BATCHES
        fitting = max(ORDER_NUMBERS // (self.slab.runs * batch), 64)
        return min(fitting, block_loop.MAX_BLOCK_BATCHES)

    def samples(self) -> jax.ShapeDtypeStruct | None:
        """Shape of the sample numbers that a block is given; None for the whole set."""
        if self.sweep.batch_size is None:
            return None
        own = (self.slab.runs,) if self.own_order else ()
        sharding = self.slab.sharding(slabs.RUNS) if self.own_order else None
        shape = (*own, self.rows, self.sweep.batch_size)
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Sample numbers of mini-batches for a slab, as `run_blocks` takes them."""
        batch, samples = self.sweep.batch_size, self.sweep.problem.samples
        if batch is None:
            return None
        if not self.own_order:
            order = Order((streams(self.sweep.root_seed).order,), samples, batch)
            return block_loop.shared_order(order)
        seeds, which = np.unique(values["data_seed"], return_inverse=True)
        order_keys = streams(self.sweep.root_seed, data_seed=seeds).order
        order = Order(list(order_keys), samples, batch)
        return lambda first, count: order.rows(first, count)[which]


@lru_cache(maxsize=16)
def beginning(
    init: Callable,
    stateful: bool,
    optimizer: Callable,
    metric_inits: tuple[tuple[str, Callable], ...],
    slab: slabs.Slab,
) -> slabs.Program:
    """The compiled start of a slab of runs: keys, settings and shared data to carries.

    Args:
        init: the problem's.
        stateful: whether it makes the pair of parameters and what the cost carries.
        optimizer: factory.
        metric_inits: name and `init` of each metric that has a state.
        slab: width and devices.
    """

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, state = made if stateful else (made, None)
        inits = dict(metric_inits)
        return block.initial_carry(optimizer, params, state, settings, inits, shared.metrics)

    return slabs.Program(slabs.over_runs(begin, slab, (0, 0, None)), once=True)
