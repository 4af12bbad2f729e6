"""Decays of the learning rate, and the parts of the fall of the cost."""

import dataclasses
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree, ScalarLike

import gdjax as gd
from gdjax.curvature import EigenpairsStatus, HessianOperator, extreme_eigenpairs
from gdjax.problems.problem import NOTHING
from gdjax.sweeps.dataset import from_named

from .config import Config

NODES = 6  # number of points of the Gauss-Legendre rule along a line
RTOL = 1e-2  # tolerance of the residuals of eigenpairs, relative to the largest eigenvalue
CONSTANT, DECAY, FROZEN = (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)
# First and last multipliers of the learning rate, for the steep part and the other part of the
# gradient.
WHOLE = {"constant": (CONSTANT, CONSTANT), "decay": (DECAY, DECAY)}
PARTS = {
    "onto": (DECAY, FROZEN),
    "off": (FROZEN, DECAY),
    "steep_decay": (DECAY, CONSTANT),
    "rest_decay": (CONSTANT, DECAY),
}


def warm_up_stable_decay(
    learning_rate: ScalarLike,
    decay_start: ScalarLike = 0,
    decay_steps: ScalarLike = 0,
    *,
    warm_up_steps: int,
) -> optax.GradientTransformation:
    """Return descent whose rate rises linearly, is constant, and then decays linearly to 0.

        r_t = learning_rate min(1, (t + 1) / warm_up_steps)         before step decay_start
        r_t = learning_rate (1 - (t - decay_start) / decay_steps)   from step decay_start

    Args:
        learning_rate: rate between the rise and the decay.
        decay_start: first step of the decay, after the rise.
        decay_steps: number of steps of the decay; 0 for no decay.
        warm_up_steps: number of steps of the rise; 0 or 1 for a constant rate from the start.
    """

    def rate(step):
        risen = jnp.minimum((step + 1) / max(warm_up_steps, 1), 1)
        fallen = (step - decay_start) / jnp.maximum(decay_steps, 1)
        return learning_rate * jnp.where(
            jnp.asarray(decay_steps) > 0, jnp.clip(1 - fallen, 0, risen), risen
        )

    return optax.sgd(rate)


class PartedState(NamedTuple):
    """Number of steps, and the directions that define the steep part of a gradient."""

    count: Int[Array, ""]
    vectors: Float[Array, "k n"]


def parted_sgd(
    learning_rate: float,
    basis: ScalarLike,
    directions: ScalarLike,
    steep_first: ScalarLike,
    steep_last: ScalarLike,
    rest_first: ScalarLike,
    rest_last: ScalarLike,
    *,
    bases: Float[np.ndarray, "points k n"],
    decay_steps: int,
) -> optax.GradientTransformation:
    """Return descent with separate rates for the two parts of a gradient.

        w <- w - learning_rate (a_t P g + b_t (g - P g)),   P = sum_{i <= directions} v_i v_i^T

    The multipliers a and b go linearly from their first to their last value, which they would reach
    after `decay_steps` steps.

    Args:
        learning_rate: rate at the multiplier 1.
        basis: index of the set of vectors v.
        directions: number of vectors that span the steep part.
        steep_first: a at the first step.
        steep_last: a after the last step.
        rest_first: b at the first step.
        rest_last: b after the last step.
        bases: sets of orthonormal vectors.
        decay_steps: number of steps.
    """

    def init(params):
        return PartedState(jnp.zeros((), jnp.int32), jnp.asarray(bases, jnp.float32)[basis])

    def update(updates, state, params=None):
        g, unravel = ravel_pytree(updates)
        inside = jnp.arange(state.vectors.shape[0]) < directions
        steep = jnp.where(inside, state.vectors @ g, 0) @ state.vectors
        z = state.count / decay_steps
        a = steep_first * (1 - z) + steep_last * z
        b = rest_first * (1 - z) + rest_last * z
        moved = unravel(-learning_rate * (a * steep + b * (g - steep)))
        return moved, PartedState(state.count + 1, state.vectors)

    return optax.GradientTransformation(init, update)


class Changes(NamedTuple):
    """Parts of the change of the cost from one point to another.

    Args:
        total: change of the cost.
        second_order: contribution of each direction to the expansion at the first point.
        rest: contribution of the orthogonal complement to this expansion.
        remainder: total change minus the expansion: terms of third and higher order.
        line: contribution of each direction to the integral of the gradient along the straight line
            between the points.
        line_rest: contribution of the orthogonal complement to this integral.
    """

    total: Float[Array, ""]
    second_order: Float[Array, " k"]
    rest: Float[Array, ""]
    remainder: Float[Array, ""]
    line: Float[Array, " k"]
    line_rest: Float[Array, ""]


def split_change(
    problem: gd.Problem, first: PyTree, last: PyTree, vectors: Float[Array, "k n"]
) -> Changes:
    """Split the change of a cost between two points by orthonormal directions.

        C(w + d) - C(w) = sum_i (g_i d_i + d_i (H d)_i / 2) + rest + remainder
                        = sum_i d_i times integral over s in [0, 1] of grad C(w + s d)_i + line rest

    For eigenvectors, d_i (H d)_i = lambda_i d_i^2.
    """
    w, unravel = ravel_pytree(first)
    d = ravel_pytree(last)[0] - w
    cost = gd.problems.evaluate

    def gradient(at):
        return ravel_pytree(jax.grad(lambda p: cost(problem, p))(unravel(at)))[0]

    total = cost(problem, last) - cost(problem, first)
    g, curved = gradient(w), HessianOperator(problem, first).flat_mv(d)
    along = vectors @ d
    second_order = along * (vectors @ (g + curved / 2))
    expansion = d @ (g + curved / 2)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    slopes = jax.lax.map(lambda s: gradient(w + s * d), jnp.asarray((nodes + 1) / 2, w.dtype))
    average = jnp.asarray(weights / 2, w.dtype) @ slopes
    line = along * (vectors @ average)
    return Changes(
        total,
        second_order,
        expansion - jnp.sum(second_order),
        total - expansion,
        line,
        d @ average - jnp.sum(line),
    )


def trunks(config: Config, problem: gd.Problem, rate: float, store: Path) -> xr.Dataset:
    """Store runs whose rate is constant after a warm-up, with snapshots, for branches."""
    starts = gd.zip_axes(seed=range(config.starts), data_seed=range(config.starts))
    return gd.sweep(
        problem,
        gd.axes(learning_rate=[rate], decay_start=[0], decay_steps=[0], start=starts),
        max(config.branch_steps) + config.decay_steps,
        make_optimizer=partial(warm_up_stable_decay, warm_up_steps=config.warm_up_steps),
        batch_size=config.batch_size,
        record_every=config.snapshot_every,
        record_samples=config.batch_size,
        snapshot_every=config.snapshot_every,
        metrics={},
        store=store,
    ).load()


def decays(config: Config, problem: gd.Problem, rate: float, store: Path, start: int) -> Any:
    """Return snapshots of the decaying branches of one trunk, [branch_step, step]."""
    steps = list(config.branch_steps)
    runs = gd.branch(
        store,
        {"learning_rate": rate, "decay_start": 0, "decay_steps": 0, "seed": start},
        gd.axes(
            leaving=gd.zip_axes(branch_step=steps, decay_start=steps),
            decay_steps=[config.decay_steps],
        ),
        problem=problem,
        make_optimizer=partial(warm_up_stable_decay, warm_up_steps=config.warm_up_steps),
    )
    runs = runs.isel(dict.fromkeys(("decay_steps", "learning_rate", "seed", "data_seed"), 0))
    return from_named("snapshots", shapes(problem), runs.transpose("leaving", ...))


def shapes(problem: gd.Problem) -> PyTree:
    """Return the shapes of the parameters of a problem."""
    return jax.eval_shape(problem.init, jax.random.key(0))


def rows(params: PyTree, leading: int) -> Float[np.ndarray, "*leading n"]:
    """Return stacked parameters as flat vectors, in the order of `ravel_pytree`."""
    leaves = [np.asarray(a) for a in jax.tree.leaves(params)]
    return np.concatenate([a.reshape(*a.shape[:leading], -1) for a in leaves], axis=-1)


@partial(jax.jit, static_argnames="count")
def steep_directions(problem: gd.Problem, points: PyTree, count: int, key: Array) -> Any:
    """Return the largest eigenpairs of the Hessian, and whether they converged."""

    def one(params):
        pairs = extreme_eigenpairs(problem, params, key=key, largest=count, rtol=RTOL)
        vectors = jax.vmap(lambda v: ravel_pytree(v)[0])(pairs.vectors)
        return pairs.values, vectors, pairs.status == EigenpairsStatus.CONVERGED

    return jax.lax.map(one, points)


@jax.jit
def costs_of(problem: gd.Problem, points: PyTree) -> Float[Array, " points"]:
    """Return the full-batch cost at each point."""
    return jax.lax.map(lambda params: gd.problems.evaluate(problem, params), points)


def interventions(
    config: Config,
    problem: gd.Problem,
    rate: float,
    points: Float[np.ndarray, "points n"],
    bases: Float[np.ndarray, "points k n"],
) -> xr.Dataset:
    """Return final costs of descents whose rates differ between directions.

    They include a constant rate and a decay in all directions. All descents from a point use the
    same mini-batches.
    """
    unravel = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes(problem)))[1]
    settings = [(0, *pair) for pair in WHOLE.values()]
    settings += [(k, *pair) for pair in PARTS.values() for k in config.directions]
    columns = np.array([(k, *steep, *rest) for k, steep, rest in settings]).T
    names = ("directions", "steep_first", "steep_last", "rest_first", "rest_last")
    index = np.arange(len(points))
    runs = gd.sweep(
        dataclasses.replace(
            problem,
            init=lambda key, *, point: unravel(jnp.asarray(points, jnp.float32)[point]),
            metrics=NOTHING,
            provenance=None,
        ),
        gd.axes(
            leaving=gd.zip_axes(point=index, basis=index, data_seed=config.starts + index),
            setting=gd.zip_axes(**dict(zip(names, columns, strict=True))),
        ),
        config.decay_steps,
        make_optimizer=partial(
            parted_sgd, learning_rate=rate, bases=bases, decay_steps=config.decay_steps
        ),
        batch_size=config.batch_size,
        record_every=config.decay_steps,
    )
    final = runs.cost.transpose("leaving", "setting", "step").values[..., -1]
    parted = final[:, len(WHOLE) :].reshape(len(points), len(PARTS), len(config.directions))
    at = ("leaving",)
    return xr.Dataset(
        {
            **{f"swept_{name}": (at, final[:, i]) for i, name in enumerate(WHOLE)},
            "parted": ((*at, "part", "directions"), parted),
        },
        {"part": list(PARTS), "directions": list(config.directions)},
    )


def valleys(config: Config, problem: gd.Problem, rate: float) -> xr.Dataset:
    """Return costs, parts of the fall, and interventions for all branches."""
    like, steps = shapes(problem), np.array(config.branch_steps)
    bare = dataclasses.replace(problem, metrics=NOTHING)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "trunks"
        stored = trunks(config, problem, rate, store).isel(
            learning_rate=0, decay_start=0, decay_steps=0
        )
        leaving = [decays(config, problem, rate, store, s) for s in range(config.starts)]
    trunk = rows(from_named("snapshots", like, stored.transpose("start", ...)), 2)
    branch = np.stack([rows(one, 2) for one in leaving])  # snapshots begin at the first branch step
    first, length = steps // config.snapshot_every, config.decay_steps // config.snapshot_every
    own = first - first[0]
    begin, continued = trunk[:, first], trunk[:, first + length]
    end = np.stack([branch[:, i, n + length] for i, n in enumerate(own)], axis=1)
    average = np.stack([trunk[:, n + 1 : n + length + 1].mean(axis=1) for n in first], axis=1)
    unravel = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like))[1]

    def points(vectors):
        return jax.vmap(unravel)(jnp.asarray(vectors).reshape(-1, vectors.shape[-1]))

    def grid(values):
        values = np.asarray(values)
        return values.reshape(config.starts, len(steps), *values.shape[1:])

    def costs(vectors):
        return np.asarray(costs_of(bare, points(vectors))).reshape(vectors.shape[:-1])

    count, key = max(config.directions), jax.random.key(0)
    values, bases, converged = steep_directions(bare, points(begin), count, key)
    end_values, end_bases, end_converged = steep_directions(bare, points(end), count, key)

    @jax.jit
    def split(bare, begin, end, vectors):
        return jax.lax.map(lambda p: split_change(bare, *p), (begin, end, vectors))

    parts = split(bare, points(begin), points(end), bases)
    late = split(bare, points(begin), points(end), end_bases)
    overlaps = [
        jnp.sum((bases[:, :k] @ end_bases[:, :k].mT) ** 2, axis=(1, 2)) / k
        for k in config.directions
    ]
    at, steep = ("start", "branch_step"), ("start", "branch_step", "direction")
    flat = begin.reshape(-1, begin.shape[-1])
    part = interventions(config, bare, rate, flat, np.asarray(bases))
    curve = trunk[:1, :: max(1, length // 10)]
    dataset = xr.Dataset(
        {
            "begin": (at, costs(begin)),
            "end": (at, costs(end)),
            "continued": (at, costs(continued)),
            "averaged": (at, costs(average)),
            "eigenvalues": (steep, grid(values)),
            "end_eigenvalues": (steep, grid(end_values)),
            "converged": (at, grid(converged & end_converged)),
            "overlap": ((*at, "directions"), grid(np.stack(overlaps, axis=1))),
            "total": (at, grid(parts.total)),
            "second_order": (steep, grid(parts.second_order)),
            "rest": (at, grid(parts.rest)),
            "remainder": (at, grid(parts.remainder)),
            "line": (steep, grid(parts.line)),
            "line_rest": (at, grid(parts.line_rest)),
            "end_line": (steep, grid(late.line)),
            "end_line_rest": (at, grid(late.line_rest)),
            "swept_constant": (at, grid(part.swept_constant)),
            "swept_decay": (at, grid(part.swept_decay)),
            "parted": ((*at, "part", "directions"), grid(part.parted)),
            "trunk_cost": ("record", costs(curve)[0]),
            "branch_cost": (
                ("branch_step", "decay_record"),
                _branch_costs(costs, branch, own, length),
            ),
        },
        {"part": part.part, "directions": part.directions, "branch_step": steps},
    )
    spacing = config.snapshot_every * max(1, length // 10)
    return dataset.assign_coords(
        record=spacing * np.arange(dataset.sizes["record"]),
        decay_record=spacing * np.arange(dataset.sizes["decay_record"]),
    )


def _branch_costs(costs, branch, own, length):
    """Return costs along the decays of the first start."""
    shown = range(0, length + 1, max(1, length // 10))
    return np.stack([costs(branch[0, i, [n + j for j in shown]]) for i, n in enumerate(own)])


def power_decay(
    learning_rate: ScalarLike, exponent: ScalarLike, *, steps: int
) -> optax.GradientTransformation:
    """Return descent with the rate learning_rate (1 - t / steps)^exponent at step t."""
    return optax.sgd(optax.polynomial_schedule(learning_rate, 0.0, exponent, steps))


def trained(config: Config, problem: gd.Problem) -> xr.DataArray:
    """Return final costs of a network, for all exponents, peak rates and starts."""
    starts = gd.zip_axes(seed=range(config.starts), data_seed=range(config.starts))
    runs = gd.sweep(
        problem,
        gd.axes(exponent=config.exponents, learning_rate=np.geomspace(*config.peaks), start=starts),
        config.steps,
        make_optimizer=partial(power_decay, steps=config.steps),
        batch_size=config.batch_size,
        record_every=config.steps,
        metrics={},
    )
    return runs.cost.isel(step=-1).transpose("exponent", "learning_rate", "start").load()
