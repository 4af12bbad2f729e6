"""Specification of branches: descents that leave a run, the trunk, at a step.

    w'_t = w_t + d,   |d| = perturbation;   other state and order of batches as in the trunk

The trunk is recomputed up to that step. With the same program, it is bitwise equal to the stored
run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree, ScalarLike

from gdjax.base.arguments import check_choice, check_type
from gdjax.base.errors import InputError
from gdjax.base.keys import run_keys
from gdjax.sweeps.axes import (
    BATCH_SIZE,
    BRANCH_AXES,
    BRANCH_STEP,
    PERTURBATION,
    PERTURBATION_SEED,
    Axes,
    axes,
)
from gdjax.sweeps.checkpoint import Positions, SlabCheckpoint, from_host, to_host
from gdjax.sweeps.dataset import number_leaves
from gdjax.sweeps.fit import slab_width
from gdjax.sweeps.program import Program, programs_of
from gdjax.sweeps.slab_runner import carry_at
from gdjax.sweeps.spec import Sweep, validate_spec


def direction(key: Key[Array, ""], params: PyTree, size: ScalarLike) -> PyTree:
    """Return parameters moved in a uniformly random direction: |w' - w| = size.

    Examples:
        >>> params = direction(jax.random.key(0), {"a": jnp.ones(3), "b": jnp.ones(())}, 0.5)
        >>> float(sum(jnp.sum((leaf - 1) ** 2) for leaf in jax.tree.leaves(params)))
        0.25
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, a.shape, jnp.float32) for k, a in zip(keys, leaves, strict=True)]
    length = jnp.sqrt(sum(jnp.sum(d**2) for d in drawn))
    return _add(structure, leaves, [size * d / length for d in drawn])


def one_weight(key: Key[Array, ""], params: PyTree, size: ScalarLike) -> PyTree:
    """Return parameters with one random element increased or decreased by `size`."""
    leaves, structure = jax.tree.flatten(params)
    offsets = np.cumsum([a.size for a in leaves])
    which, way = jax.random.split(key)
    place = jax.random.randint(which, (), 0, int(offsets[-1]))
    step = size * jax.random.rademacher(way, (), jnp.float32)
    displacements = [
        jnp.where(jnp.arange(end - a.size, end) == place, step, 0.0).reshape(a.shape)
        for a, end in zip(leaves, offsets, strict=True)
    ]
    return _add(structure, leaves, displacements)


def _add(structure, leaves, displacements):
    # Unmoved numbers must remain bitwise equal, but -0.0 + 0.0 is 0.0.
    pairs = zip(leaves, displacements, strict=True)
    sums = [jnp.where(d == 0, a, a + d.astype(a.dtype)) for a, d in pairs]
    return jax.tree.unflatten(structure, sums)


PERTURB: Mapping[str, Callable[[Key[Array, ""], PyTree, ScalarLike], PyTree]] = {
    "direction": direction,
    "one_weight": one_weight,
}
"""Perturbation functions by name."""


def perturbed(
    params: PyTree, size: ScalarLike, *, key: Key[Array, ""], how: str = "direction"
) -> PyTree:
    """Return parameters at a distance, in the random direction from which branches start.

    Args:
        params: parameters, any pytree.
        size: distance, in the units of the parameters.
        key: random key.
        how: "direction" for a uniformly random direction, "one_weight" for a single element.

    Examples:
        >>> float(jnp.linalg.norm(perturbed(jnp.zeros(3), 0.5, key=jax.random.key(0))))
        0.5
    """
    check_choice("perturbed: how", how, PERTURB)
    return PERTURB[how](key, params, size)


TRUNK_SETTINGS = (
    "batch_size",
    "replacement",
    "record_every",
    "record_samples",
    "divergence_threshold",
    "gradient_tolerance",
    "stop_when_converged",
)
"""Settings of a sweep that determine the trunk and may differ in its branches.

Convergence and some divergences are detected at records only, so the trunk depends on their steps.
"""


@cache
def _perturb_runs(how: str) -> Callable:
    return jax.jit(jax.vmap(PERTURB[how]))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class BranchSpec(Sweep):
    """Specification of a sweep whose runs leave a stored run at a given step.

    Args:
        trunk: value of each axis for the run that branches share up to their `branch_step`.
        perturb: kind of perturbation, as in `branch`.
        trunk_settings: those of `TRUNK_SETTINGS` that differ between the trunk and its branches,
            with the values of the trunk.
    """

    trunk: Mapping[str, Any] = field(default_factory=dict)
    perturb: str = "direction"
    trunk_settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        validate_spec(self)
        validate_branches(self)
        self.trunk_spec()  # checks the settings of the trunk, which may come from a record

    def first_record(self, axes: Axes) -> int:
        """Return the first step at which a branch of a grid leaves the trunk."""
        return int(axes.by_name[BRANCH_STEP].min())

    def start(self) -> "TrunkStart":
        """Return the states from which the branches start: those of the trunk at their steps."""
        return TrunkStart()

    def trunk_spec(self) -> Sweep:
        """Return the specification of the trunk as a sweep of one run."""
        keywords: dict[str, Any] = {**self.settings, **self.trunk_settings}
        keywords["axes"] = axes(**{axis: [value] for axis, value in self.trunk.items()})
        if BATCH_SIZE in self.trunk:
            keywords["batch_size"] = None
        return Sweep(**keywords)


def branch_axes(branches: Axes, trunk: Mapping[str, Any]) -> Axes:
    """Return the axes of branches, completed with the values of their trunk."""
    rest = {axis: [value] for axis, value in trunk.items() if axis not in branches.by_name}
    return Axes({**branches.dimensions, **(axes(**rest).dimensions if rest else {})})


def validate_branches(spec: BranchSpec) -> None:
    """Check the settings that only branches have."""
    check_choice("perturb", spec.perturb, PERTURB)
    check_type("trunk", spec.trunk, Mapping, "the values of a run by axis")
    if not isinstance(spec.trunk_settings, Mapping) or set(spec.trunk_settings) - {*TRUNK_SETTINGS}:
        raise InputError(
            f"trunk_settings = {spec.trunk_settings!r:.80}, expected values of "
            f"{', '.join(TRUNK_SETTINGS)}"
        )
    along = spec.axes.by_name
    steps = along.get(BRANCH_STEP, np.array([-1]))
    if steps.min() < 0 or steps.max() > spec.num_steps:
        stated = f"= {steps.tolist()!r:.80}" if BRANCH_STEP in along else "is missing"
        raise InputError(
            f"axes: branch_step {stated}, expected the steps at which branches leave the stored "
            f"run, from 0 to num_steps = {spec.num_steps}, as in axes(branch_step=[...])"
        )
    sizes = along.get(PERTURBATION, np.zeros(1))
    if sizes.dtype.kind not in "if" or np.any(sizes < 0):
        raise InputError("axes: perturbation is a norm; expected numbers of at least 0")
    if "seed" in along and along["seed"].tolist() != [spec.trunk.get("seed")]:
        raise InputError(
            "axes: seed sets the starting point, but branches start from a stored run; use "
            "perturbation_seed for several perturbations"
        )


class TrunkStart:
    """Initial carry of branches: the carry of the trunk at the step of the branch.

    The trunk is computed once for each step of branches.
    """

    def __init__(self):
        self._carries: dict[int, list[np.ndarray]] = {}

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return no writer, since the trunk is computed again."""
        return []

    def __call__(self, program: Program, positions: Positions) -> SlabCheckpoint:
        """Return the initial carry of a slab of branches."""
        spec, step = program.sweep, program.first_record
        assert isinstance(spec, BranchSpec)
        if step not in self._carries:
            self._carries[step] = _trunk_carry(spec.trunk_spec(), program.devices, step)
        values = spec.axes.values(positions)
        carry = branch_carries(spec, values, self._carries[step], program.carry_shapes)
        return SlabCheckpoint(step, carry, {}, {})


def _trunk_carry(spec, devices, step):
    (program,) = programs_of(spec, devices)
    program = replace(program, width=slab_width(program))
    positions = (np.zeros(program.width, int),) * len(program.axes.shape)
    return [np.asarray(leaf[0]) for leaf in carry_at(program, positions, step)]


def branch_carries(
    spec: BranchSpec, values: Mapping[str, np.ndarray], trunk: list[np.ndarray], carry: PyTree
) -> list[np.ndarray]:
    """Return the initial carries of a slab of branches."""
    leaves, structure = jax.tree.flatten(carry)
    like = [(a.shape, a.dtype) for a in number_leaves(leaves)]
    if like != [(a.shape, a.dtype) for a in trunk]:
        raise InputError(
            "branch: the settings change the structure of the state of a run (for example of the "
            "optimizer state), so that it cannot continue from the stored run; vary other settings"
        )
    runs = len(next(iter(values.values())))
    whole = [np.broadcast_to(a, (runs, *a.shape)) for a in trunk]
    carries = jax.tree.unflatten(
        structure, [from_host(a, like) for a, like in zip(whole, leaves, strict=True)]
    )
    if PERTURBATION in values:
        seeds = values.get(PERTURBATION_SEED, np.zeros(runs, np.int64))
        keys = run_keys(spec.root_seed, perturbation_seed=seeds).perturbation
        sizes = jnp.asarray(values[PERTURBATION], jnp.float32)
        params = _perturb_runs(spec.perturb)(keys, carries.state.params, sizes)
        carries = carries._replace(state=carries.state._replace(params=params))
    # A branch that differs from a converged trunk takes further steps.
    stopped_at = jnp.where(_differs(spec, values), -1, carries.stopped_at)
    carries = carries._replace(stopped_at=stopped_at)
    return [to_host(a) for a in jax.tree.leaves(carries)]


def _differs(spec, values):
    """Return whether each branch has a perturbation or other settings than the trunk."""
    differs = values.get(PERTURBATION, np.zeros(1)) > 0
    for axis in values.keys() - BRANCH_AXES:
        differs = differs | (values[axis] != spec.trunk.get(axis))
    return differs | bool(spec.trunk_settings.keys() - {"record_every"})
