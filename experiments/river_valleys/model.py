"""Decays of the learning rate, and the parts of the fall of the cost."""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, ScalarLike

import gdjax as gd
from gdjax.curvature import EigenpairsStatus, HessianOperator, extreme_eigenpairs
from gdjax.sweeps import from_named

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


@dataclass(frozen=True)
class Config:
    """Runs at a constant rate, and their branches."""

    # names of the data sets: that of a sigmoid network with quadratic loss, and that of a tanh
    # network with cross-entropy
    data: tuple[str, ...] = ("mnist5k", "fashion_mnist")
    rates: tuple[float, ...] = (6.0, 0.2)  # learning rate of the trunks, for each data set
    samples: int = 4000  # maximum number of training images
    width: int = 16  # number of neurons in each of the two hidden layers
    batch_size: int = 32  # number of images per step
    starts: int = 8  # number of trunks for each data set
    warm_up_steps: int = 100  # number of steps over which the rate of a trunk rises linearly
    branch_steps: tuple[int, ...] = (300, 600, 900)  # steps at which branches leave a trunk
    decay_steps: int = 300  # number of steps of a decay
    snapshot_every: int = 20  # number of steps between snapshots, whose weights are averaged
    directions: tuple[int, ...] = (5, 10)  # numbers k of eigenvectors of the steep subspace


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

    Without decay steps, the rate does not decay.
    """

    def rate(step):
        risen = jnp.minimum((step + 1) / max(warm_up_steps, 1), 1)
        fallen = jnp.clip(1 - (step - decay_start) / jnp.maximum(decay_steps, 1), 0, risen)
        return learning_rate * jnp.where(jnp.asarray(decay_steps) > 0, fallen, risen)

    return optax.sgd(rate)


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

    The multipliers a (steep) and b (rest) go linearly from their first to their last value, which
    they would reach after `decay_steps` steps. The orthonormal vectors v are `bases[basis]`.
    """

    def init(params):
        return jnp.zeros((), jnp.int32), jnp.asarray(bases, jnp.float32)[basis]

    def update(updates, state, params=None):
        (count, vectors), (g, unravel) = state, ravel_pytree(updates)
        steep = jnp.where(jnp.arange(len(vectors)) < directions, vectors @ g, 0) @ vectors
        z = count / decay_steps
        a = steep_first * (1 - z) + steep_last * z
        b = rest_first * (1 - z) + rest_last * z
        change = unravel(-learning_rate * (a * steep + b * (g - steep)))
        return change, (count + 1, vectors)

    return optax.GradientTransformation(init, update)


def split_change(
    problem: gd.Problem, first: PyTree, last: PyTree, vectors: Float[Array, "k n"]
) -> dict[str, Float[Array, "..."]]:
    """Split the change of a cost between two points by orthonormal directions.

        total = C(w + d) - C(w) = sum(second_order) + rest + remainder = sum(line) + line_rest
        second_order_i = g_i d_i + d_i (H d)_i / 2
        line_i = d_i times integral over s in [0, 1] of grad C(w + s d)_i

    For eigenvectors, d_i (H d)_i = lambda_i d_i^2. The contributions of the orthogonal complement
    are `rest` and `line_rest`; the remainder contains the terms of third and higher order.
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
    return {
        "total": total,
        "second_order": second_order,
        "rest": expansion - jnp.sum(second_order),
        "remainder": total - expansion,
        "line": line,
        "line_rest": d @ average - jnp.sum(line),
    }


def unraveled(problem: gd.Problem):
    """Return the function from flat vectors to parameters, the inverse of `ravel_pytree`."""
    return ravel_pytree(problem.init(jax.random.key(0)))[1]


def snapshots(problem: gd.Problem, runs: xr.Dataset) -> Float[np.ndarray, "runs steps n"]:
    """Return the snapshots of runs as flat vectors, in the order of `ravel_pytree`."""
    like = problem.init(jax.random.key(0))
    leaves = map(np.asarray, jax.tree.leaves(from_named("snapshots", like, runs)))
    return np.concatenate([a.reshape(*a.shape[:2], -1) for a in leaves], axis=-1)


def trunks_and_decays(
    config: Config, problem: gd.Problem, rate: float
) -> tuple[Float[np.ndarray, "starts steps n"], Float[np.ndarray, "starts branches steps n"]]:
    """Return snapshots of runs whose rate is constant after a warm-up, and of their decays.

    The decays leave a trunk at `config.branch_steps`, where their snapshots begin.
    """
    make_optimizer = partial(warm_up_stable_decay, warm_up_steps=config.warm_up_steps)
    steps = list(config.branch_steps)
    branches = gd.axes(
        leaving=gd.zip_axes(branch_step=steps, decay_start=steps),
        decay_steps=[config.decay_steps],
    )
    starts = gd.zip_axes(seed=range(config.starts), data_seed=range(config.starts))
    records = np.subtract(steps, steps[0])[:, None] // config.snapshot_every
    records = records + np.arange(config.decay_steps // config.snapshot_every + 1)
    decays = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "trunks"
        trunks = gd.sweep(
            problem,
            gd.axes(learning_rate=[rate], decay_start=[0], decay_steps=[0], start=starts),
            max(steps) + config.decay_steps,
            make_optimizer=make_optimizer,
            batch_size=config.batch_size,
            record_every=config.snapshot_every,
            record_samples=config.batch_size,
            snapshot_every=config.snapshot_every,
            metrics={},
            store=store,
        ).load()
        for start in range(config.starts):
            run = {"learning_rate": rate, "decay_start": 0, "decay_steps": 0, "seed": start}
            runs = gd.branch(store, run, branches, problem=problem, make_optimizer=make_optimizer)
            runs = runs.squeeze(["decay_steps", "learning_rate", "seed", "data_seed"])
            by_branch = snapshots(problem, runs.transpose("leaving", ...))
            decays.append(by_branch[np.arange(len(steps))[:, None], records])
    trunks = trunks.squeeze(["learning_rate", "decay_start", "decay_steps"])
    return snapshots(problem, trunks.transpose("start", ...)), np.stack(decays)


@partial(jax.jit, static_argnums=0)
def at_points(function: Callable, problem: gd.Problem, *points: PyTree) -> Any:
    """Return the values of a function of a problem and of parameters at several points."""
    return jax.lax.map(lambda one: function(problem, *one), points)


def steep_directions(problem: gd.Problem, params: PyTree, *, count: int) -> tuple[Array, Array]:
    """Return the leading eigenvectors of the Hessian, and whether they converged."""
    key = jax.random.key(0)
    pairs = extreme_eigenpairs(problem, params, key=key, largest=count, rtol=RTOL)
    vectors = jax.vmap(lambda v: ravel_pytree(v)[0])(pairs.vectors)
    return vectors, pairs.status == EigenpairsStatus.CONVERGED


def interventions(
    config: Config,
    problem: gd.Problem,
    rate: float,
    points: Float[np.ndarray, "points n"],
    bases: Float[np.ndarray, "points k n"],
) -> dict[str, Float[np.ndarray, "points ..."]]:
    """Return final costs of descents whose rates differ between directions.

    They include a constant rate and a decay in all directions; "parted" has the shape [points,
    parts, directions]. All descents from a point use the same mini-batches.
    """
    unravel = unraveled(problem)
    settings = [(0, *pair) for pair in WHOLE.values()]
    settings += [(k, *pair) for pair in PARTS.values() for k in config.directions]
    columns = np.array([(k, *steep, *rest) for k, steep, rest in settings]).T
    names = ("directions", "steep_first", "steep_last", "rest_first", "rest_last")
    index, steps = np.arange(len(points)), config.decay_steps

    def init(key, *, point):
        return unravel(jnp.asarray(points, jnp.float32)[point])

    runs = gd.sweep(
        dataclasses.replace(problem, init=init, provenance=None),
        gd.axes(
            leaving=gd.zip_axes(point=index, basis=index, data_seed=config.starts + index),
            setting=gd.zip_axes(**dict(zip(names, columns, strict=True))),
        ),
        steps,
        make_optimizer=partial(parted_sgd, learning_rate=rate, bases=bases, decay_steps=steps),
        batch_size=config.batch_size,
        record_every=steps,
    )
    final = runs.cost.transpose("leaving", "setting", "step").values[..., -1]
    parted = final[:, len(WHOLE) :].reshape(len(points), len(PARTS), len(config.directions))
    return {f"swept_{name}": final[:, i] for i, name in enumerate(WHOLE)} | {"parted": parted}


def valleys(config: Config, problem: gd.Problem, rate: float) -> xr.Dataset:
    """Return costs, parts of the fall, and interventions for all branches."""
    steps, every = np.array(config.branch_steps), config.snapshot_every
    first, length = steps // every, config.decay_steps // every
    bare = dataclasses.replace(problem, metrics={})
    trunk, decay = trunks_and_decays(config, problem, rate)
    begin, end, continued = trunk[:, first], decay[:, :, -1], trunk[:, first + length]
    average = np.stack([trunk[:, n + 1 : n + length + 1].mean(axis=1) for n in first], axis=1)
    unravel = jax.vmap(unraveled(problem))

    def points(vectors):
        return unravel(jnp.asarray(vectors).reshape(-1, vectors.shape[-1]))

    def costs(vectors):
        values = at_points(gd.problems.evaluate, bare, points(vectors))
        return np.reshape(np.asarray(values), vectors.shape[:-1])

    def split(vectors):
        return at_points(split_change, bare, points(begin), points(end), vectors)

    steep = partial(steep_directions, count=max(config.directions))
    bases, converged = at_points(steep, bare, points(begin))
    end_bases, end_converged = at_points(steep, bare, points(end))
    overlaps = [
        jnp.sum((bases[:, :k] @ end_bases[:, :k].mT) ** 2, axis=(1, 2)) / k
        for k in config.directions
    ]
    # Values of the branches, with the starts and the branch steps in the first axis.
    of_branches = {
        "converged": converged & end_converged,
        "overlap": np.stack(overlaps, axis=1),
        **split(bases),
        "end_line": split(end_bases)["line"],
        **interventions(config, bare, rate, begin.reshape(-1, begin.shape[-1]), np.asarray(bases)),
    }
    dims = {"overlap": ("directions",), "parted": ("part", "directions")}
    dims |= dict.fromkeys(("second_order", "line", "end_line"), ("direction",))
    at, spacing = ("start", "branch_step"), max(1, length // 10)
    columns = {
        name: ((*at, *dims.get(name, ())), np.reshape(a, (config.starts, len(steps), *a.shape[1:])))
        for name, a in of_branches.items()
    }
    points_of = {"begin": begin, "end": end, "continued": continued, "averaged": average}
    return xr.Dataset(
        {
            **columns,
            **{name: (at, costs(vectors)) for name, vectors in points_of.items()},
            "trunk_cost": ("record", costs(trunk[0, ::spacing])),
            "branch_cost": (("branch_step", "decay_record"), costs(decay[0, :, ::spacing])),
        },
        {
            "part": list(PARTS),
            "directions": list(config.directions),
            "branch_step": steps,
            "record": every * np.arange(trunk.shape[1])[::spacing],
            "decay_record": every * np.arange(length + 1)[::spacing],
        },
    )
