"""Inputs of a slab of runs: starting points, settings, orders of mini-batches, noise, data.

    run (seed, data_seed, noise_seed, settings) -> keys from streams of the sweep's root, numbers

The inputs of a run depend on its own values alone, never on those of its neighbors.
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
from gdjax.sweeps.binding import by_role, numeric_roles
from gdjax.sweeps.spec import ProgramSpec

MAX_ORDER_NUMBERS = 2**22  # sample numbers of a block where every run has its own order

Values = Mapping[str, np.ndarray]
"""Values of a slab's runs, by axis."""


@dataclasses.dataclass(frozen=True, eq=False)
class SlabInputs:
    """Inputs of the runs of a program, slab by slab.

    Args:
        spec: the program.
        slab: width and devices.
    """

    spec: ProgramSpec
    slab: slabs.Slab

    @property
    def has_own_order(self) -> bool:
        """Whether runs differ in their order of mini-batches."""
        return self.spec.batch_size is not None and "data_seed" in self.spec.roles

    @property
    def has_own_noise(self) -> bool:
        """Whether runs differ in what a random cost draws."""
        spec = self.spec
        return spec.problem.random and not spec.roles.keys().isdisjoint(("seed", "noise_seed"))

    def settings(self, values: Values) -> dict[str, dict[str, np.ndarray]]:
        """Return swept values by role and keyword, in JAX's default types."""
        numeric = {a: v for a, v in values.items() if a in numeric_roles(self.spec.roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in numeric.items()}
        return by_role(self.spec.roles, cast)

    def probes(self, values: Values) -> dict[str, Key[Array, " runs"]]:
        """Return per-run keys for stochastic metrics; empty if unused."""
        metrics = self.spec.metrics.values()
        if not any("key" in given_to(m.function, GIVEN_TO_METRICS) for m in metrics):
            return {}
        seeds = values.get("seed", np.zeros(self.slab.runs, np.int64))
        return {"probes": streams(self.spec.sweep.root_seed, seed=seeds).probes}

    @cached_property
    def host_arrays(self) -> block.Shared:
        """The arrays that all runs see, on the host."""
        spec = self.spec
        return block.shared_arrays(
            spec.problem,
            spec.metrics,
            spec.block_config,
            batch_size=spec.batch_size,
            record_samples=spec.sweep.record_samples,
        )

    @cached_property
    def shared(self) -> block.Shared:
        """The arrays that all runs see, on the devices."""
        return self.slab.share(jax.tree.map(jnp.asarray, self.host_arrays))

    def starts(self, values: Values) -> tuple[PyTree, PyTree]:
        """Return keys of the starting points, and settings, of a slab of runs."""
        seeds = values.get("seed", np.zeros(self.slab.runs, np.int64))
        starts = streams(self.spec.sweep.root_seed, seed=seeds).init
        settings = {**self.settings(values), **self.probes(values)}
        return self.slab.place(starts), self.slab.place(settings)

    def noise(self, values: Values) -> Key[Array, "*runs"] | None:
        """Return keys of a random cost: one for all runs, or one per run; None if unused."""
        if not self.spec.problem.random:
            return None
        if not self.has_own_noise:
            return self.slab.share(streams(self.spec.sweep.root_seed).noise)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        noise = streams(self.spec.sweep.root_seed, seed=seed, noise_seed=noise_seed).noise
        return self.slab.place(noise)

    @property
    def batch_capacity(self) -> int:
        """Capacity of a block in mini-batches."""
        batch = self.spec.batch_size
        if batch is None or not self.has_own_order:
            return block_loop.MAX_BLOCK_BATCHES
        fitting = max(MAX_ORDER_NUMBERS // (self.slab.runs * batch), 64)
        return min(fitting, block_loop.MAX_BLOCK_BATCHES)

    def samples(self) -> jax.ShapeDtypeStruct | None:
        """Return the shape of the sample numbers of a block; None for the whole set."""
        if self.spec.batch_size is None:
            return None
        own = (self.slab.runs,) if self.has_own_order else ()
        sharding = self.slab.sharding(slabs.RUNS) if self.has_own_order else None
        shape = (*own, self.batch_capacity, self.spec.batch_size)
        return jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Return a function that gives sample numbers of mini-batches, as `run_blocks` takes it."""
        batch, samples = self.spec.batch_size, self.spec.problem.samples
        if batch is None:
            return None
        if not self.has_own_order:
            order = Order((streams(self.spec.sweep.root_seed).order,), samples, batch)
            return block_loop.shared_order(order)
        seeds, which = np.unique(values["data_seed"], return_inverse=True)
        order_keys = streams(self.spec.sweep.root_seed, data_seed=seeds).order
        order = Order(list(order_keys), samples, batch)
        return lambda first, count: order.rows(first, count)[which]


@lru_cache(maxsize=16)
def initial_carry_program(
    init: Callable,
    stateful: bool,
    make_optimizer: Callable,
    metric_inits: tuple[tuple[str, Callable], ...],
    slab: slabs.Slab,
) -> slabs.Program:
    """Return the program that starts a slab of runs: keys, settings, shared arrays to carries.

    Args:
        init: the problem's.
        stateful: whether it returns the pair of parameters and model state.
        make_optimizer: factory of the optimizer.
        metric_inits: name and `init` of each metric that has a state.
        slab: width and devices.
    """

    def begin(key, settings, shared):
        made = init(key, **settings["init"])
        params, state = made if stateful else (made, None)
        inits = dict(metric_inits)
        return block.initial_carry(make_optimizer, params, state, settings, inits, shared.metrics)

    return slabs.Program(slabs.over_runs(begin, slab, (0, 0, None)), once=True)
