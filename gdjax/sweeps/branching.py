"""Descents that leave a run at one of its steps: with other settings, another order, or pushed.

    w'_t = w_t + d,   |d| = perturbation;   all else as the run has it at step t

The run up to there, the trunk, is taken again rather than stored: with the same program and width
it has the same bits, and all that the next step needs comes with it, the optimiser's memory too.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, ScalarLike

from gdjax.errors import InputError
from gdjax.keys import streams
from gdjax.sweeps.axes import BRANCH_STEP, PERTURBATION, PERTURBATION_SEED, Axes, axes
from gdjax.sweeps.collected import as_numbers, from_host, to_host


def direction(key: Key[Array, ""], params: PyTree, size: ScalarLike) -> PyTree:
    """Parameters pushed in a random direction, all directions equally likely: |w' - w| = size.

    Args:
        key: which direction.
        params: from where.
        size: how far.

    Examples:
        >>> pushed = direction(jax.random.key(0), {"a": jnp.ones(3), "b": jnp.ones(())}, 0.5)
        >>> float(sum(jnp.sum((leaf - 1) ** 2) for leaf in jax.tree.leaves(pushed)))
        0.25
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, a.shape, jnp.float32) for k, a in zip(keys, leaves, strict=True)]
    length = jnp.sqrt(sum(jnp.sum(d**2) for d in drawn))
    return _pushed(structure, leaves, [size * d / length for d in drawn])


def one_weight(key: Key[Array, ""], params: PyTree, size: ScalarLike) -> PyTree:
    """Parameters one of which, chosen at random, is larger or smaller by `size`.

    Args:
        key: which one, and which way.
        params: from where.
        size: how far.
    """
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([a.size for a in leaves])
    which, way = jax.random.split(key)
    place = jax.random.randint(which, (), 0, int(ends[-1]))
    step = size * jax.random.rademacher(way, (), jnp.float32)
    moves = [
        jnp.where(jnp.arange(end - a.size, end) == place, step, 0.0).reshape(a.shape)
        for a, end in zip(leaves, ends, strict=True)
    ]
    return _pushed(structure, leaves, moves)


def _pushed(structure, leaves, moves):
    # Where nothing moves all bits stay: -0.0 + 0.0 is 0.0.
    pairs = zip(leaves, moves, strict=True)
    ahead = [jnp.where(d == 0, a, a + d.astype(a.dtype)) for a, d in pairs]
    return jax.tree.unflatten(structure, ahead)


PERTURB: Mapping[str, Callable[[Key[Array, ""], PyTree, ScalarLike], PyTree]] = {
    "direction": direction,
    "one_weight": one_weight,
}
"""Ways of pushing parameters."""


@cache
def _pushes(how: str) -> Callable:
    return jax.jit(jax.vmap(PERTURB[how]))


def completed(what: Any) -> Axes:
    """A specification's axes, those of branches completed by their trunk's.

    Raises:
        InputError: branches of no run, from no step of it, or pushed in no way.
    """
    along = what.axes.by_name
    if not isinstance(what.perturb, str) or what.perturb not in PERTURB:
        names = ", ".join(PERTURB)
        raise InputError(f"perturb = {what.perturb!r:.40}, expected one of {names}")
    if what.trunk is None:
        own = {BRANCH_STEP, PERTURBATION, PERTURBATION_SEED} & along.keys()
        if own:
            raise InputError(
                f"axes: {min(own)} is an axis of branches; say of which run: trunk={{...}}, or "
                f"gd.branch(stored, at, ...)"
            )
        return what.axes
    if not isinstance(what.trunk, Mapping):
        raise InputError(f"trunk = {what.trunk!r:.80}, expected a run's values, by axis")
    steps = along.get(BRANCH_STEP, np.array([-1]))
    if steps.min() < 0 or steps.max() > what.num_steps:
        raise InputError(
            f"axes: branch_step = {steps.tolist()!r:.80}, expected steps of the trunk, 0 to "
            f"num_steps = {what.num_steps}, as axes(branch_step=[...])"
        )
    sizes = along.get(PERTURBATION, np.zeros(1))
    if sizes.dtype.kind not in "if" or np.any(sizes < 0):
        raise InputError("axes: perturbation is a length; expected numbers of at least 0")
    if "seed" in along and along["seed"].tolist() != [what.trunk.get("seed")]:
        raise InputError(
            "axes: seed decides where a run starts, and branches start from one run; for several "
            "pushes take perturbation_seed"
        )
    rest = {axis: [value] for axis, value in what.trunk.items() if axis not in along}
    return Axes({**what.axes.dimensions, **(axes(**rest).dimensions if rest else {})})


def branched(
    what: Any, values: Mapping[str, np.ndarray], trunk: list[np.ndarray], carry: PyTree
) -> list[np.ndarray]:
    """What a slab of branches begins with: the trunk's carry, pushed.

    Args:
        what: the specification of the branches.
        values: of the runs, by axis.
        trunk: what the trunk carries, as leaves.
        carry: shapes of what a branch carries.

    Raises:
        InputError: a branch carries something else, such as another optimiser's memory.
    """
    leaves, structure = jax.tree.flatten(carry)
    like = [(a.shape, a.dtype) for a in jax.eval_shape(lambda c: list(map(as_numbers, c)), leaves)]
    if like != [(a.shape, a.dtype) for a in trunk]:
        raise InputError(
            "branch: its settings change what a run carries from step to step (the optimiser's "
            "memory, say), so that it cannot go on from the run's; vary other settings"
        )
    runs = len(next(iter(values.values())))
    whole = [np.broadcast_to(a, (runs, *a.shape)) for a in trunk]
    if PERTURBATION not in values:
        return whole
    made = jax.tree.unflatten(
        structure, [from_host(a, like) for a, like in zip(whole, leaves, strict=True)]
    )
    seeds = values.get(PERTURBATION_SEED, np.zeros(runs, np.int64))
    keys = streams(what.root_seed, perturbation_seed=seeds).perturbation
    sizes = jnp.asarray(values[PERTURBATION], jnp.float32)
    params = _pushes(what.perturb)(keys, made.state.params, sizes)
    made = made._replace(state=made.state._replace(params=params))
    return [to_host(a) for a in jax.tree.leaves(made)]
