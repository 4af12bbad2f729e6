"""What a slab of runs leaves: the arrays of its sweep, by name.

    records, arrays of metrics | outcome, diverged_at | params, state, snapshots, carry

Its inverse is `inputs`: what a slab of runs is given.
"""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.descent import outcome
from gdjax.descent.block import SNAPSHOTS
from gdjax.sweeps import arrays
from gdjax.sweeps.collected import Collected
from gdjax.sweeps.specification import Specification


def variables(
    what: Specification,
    done: Collected,
    like: PyTree,
    measured: Mapping[str, jax.ShapeDtypeStruct],
    *,
    free: bool,
) -> dict[str, np.ndarray]:
    """All variables of a slab of runs, [runs, ...].

    Args:
        what: the sweep.
        done: what the slab has brought, to the end.
        like: shapes of one run's parameters.
        measured: shape and type of each metric that is an array.
        free: whether a record is what its step computes anyway.
    """
    state, records = done.carry.state, done.records
    diverged_at = np.asarray(state.diverged_at, np.int32)
    codes = outcome.classify(
        records["cost"],
        records["gradient_norm"][:, -1],
        diverged_at,
        what.problem.baseline,
        what.gradient_tolerance,
    )
    params = state.params
    if what.record_params_fn is not None:
        params = jax.jit(jax.vmap(what.record_params_fn))(state.opt_state, params)
    trees = {"params": params, "state": state.model_state}
    if what.snapshot_every is not None:
        trees[SNAPSHOTS] = done.kept(SNAPSHOTS, like)
    if what.continuable:
        trees["carry"] = done.ended
    return {
        **{name: records[name] for name in arrays.recorded(what.watched, free=free)},
        **{name: done.kept(name, value) for name, value in measured.items()},
        **arrays.known(measured, what.plan, diverged_at, what.since),
        "outcome": np.asarray(codes, np.int8),
        "diverged_at": diverged_at,
        **{
            name: arrays.storable(leaf)
            for prefix, tree in trees.items()
            for name, leaf in arrays.named_leaves(prefix, tree).items()
        },
    }
