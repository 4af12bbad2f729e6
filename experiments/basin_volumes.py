"""In which coordinates do random directions find most of the volume of a basin?

    log V = log V_n + log |det A| + log mean r^n,   A: the identity, or a guess of the basin's shape

Networks 64-64-10 (4,810 weights and biases) learn the 8x8 digits that scikit-learn carries, by
Adam on the whole set, with weight decay in the cost. Around each end the rim of its basin is sought
in random directions, in coordinates that follow what is known of its shape: nothing, the sizes of
each layer's weights, the diagonal of the Hessian, or, for a few networks, all of it. A mean over
some directions is below the mean over all, so that the coordinates that find most are the best.

    python experiments/basin_volumes.py           (about 160 s of processor time)

Expected: more the more of the shape is known (published of Adam's moments against the identity:
arXiv 2501.18812), all of them lower bounds. Refuted where a paired difference over the networks has
an interval that holds 0.
"""

import gzip
import importlib.util
import itertools
from dataclasses import dataclass
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import widths as plots
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.statistics import Interval, mean, median, paired
from gdjax.volumes.basin_volume import basin_volume
from gdjax.volumes.whitening import Whitening, whitened

KNOWN = ("nothing", "layers", "diagonal", "Hessian")  # of the basin's shape


@dataclass(frozen=True)
class Config:
    """Which networks, and how their basins are measured.

    Args:
        images: to learn from.
        hidden: neurons of the hidden layer.
        decay: weight decay, of the weights.
        seeds: networks.
        whole: for how many of them the whole Hessian is decomposed.
        steps: of Adam, the rate falling to 0 along half a cosine.
        learning_rate: at the beginning.
        level: by how much the cost may rise within a basin.
        directions: in which its rim is sought.
        key: of directions.
    """

    images: int = 500
    hidden: int = 64
    decay: float = 1e-4
    seeds: int = 16
    whole: int = 3
    steps: int = 2000
    learning_rate: float = 0.01
    level: float = 0.01
    directions: int = 64
    key: int = 0


def digits8() -> tuple[np.ndarray, np.ndarray]:
    """Images [1797, 64] with pixels from 0 to 1, and labels, from scikit-learn's file."""
    package = importlib.util.find_spec("sklearn")  # importing it would take seconds
    if package is None or package.origin is None:
        raise gd.errors.DataError("the 8x8 digits come with scikit-learn, which is not installed")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file) as lines:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    return rows[:, :-1] / 16, rows[:, -1].astype(np.int64)


def problem_of(config: Config) -> gd.Problem:
    """The first images to learn from, the others to be read."""
    images, labels = digits8()
    n = config.images
    network = gd.problems.Network((images.shape[1], config.hidden, 10))
    test = (images[n:], labels[n:])
    return gd.problems.decayed(network, (images[:n], labels[:n]), config.decay, test=test)


def run(config: Config) -> xr.Dataset:
    """Volumes of all networks' basins in all coordinates; NaN where none were taken."""
    problem = problem_of(config)
    falling = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    runs = gd.sweep(
        problem,
        gd.axes(seed=range(config.seeds)),
        config.steps,
        make_optimizer=lambda: optax.adam(falling),
        record_every=config.steps,
    )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    ends = jax.tree.map(jnp.asarray, gd.params_of(runs, like, {}))
    key = jax.random.key(config.key)
    found = {name: volumes(config, problem, ends, name, key) for name in KNOWN}
    return xr.Dataset(
        {
            field: (("known", "network"), np.stack([getattr(found[name], field) for name in KNOWN]))
            for field in ("log_volume", "standard_error", "effective_directions", "lower_bound")
        }
        | {
            "cost": ("network", runs.cost.isel(step=-1).values),
            "test_accuracy": ("network", runs.test_accuracy.isel(step=-1).values),
        },
        {"known": list(KNOWN)},
        {"parameters": problem.network.parameter_count, "directions": config.directions},
    )


def volumes(config: Config, problem: gd.Problem, ends, name: str, key):
    """Volumes of the networks' basins in one kind of coordinates."""
    few = config.whole if name == "Hessian" else config.seeds
    keys = jax.random.split(key, config.seeds)[:few]

    @jax.jit
    def one(at, problem):
        w, key = at
        scale = coordinates(config, problem, w, name)
        asked = {"level": config.level, "directions": config.directions}
        found = basin_volume(problem, w, key=key, preconditioner=scale, **asked)
        return found._replace(radii=jnp.median(found.radii))

    each = [
        jax.device_get(one((jax.tree.map(lambda a, i=i: a[i], ends), keys[i]), problem))
        for i in range(few)
    ]
    missing = jax.tree.map(lambda a: np.full(np.shape(a), np.nan), each[0])
    each += [missing] * (config.seeds - few)
    return jax.tree.map(lambda *a: np.stack(a).astype(float), *each)


def coordinates(config: Config, problem: gd.Problem, w, name: str) -> Whitening:
    """Coordinates by what they know of the basin; all reach about as far as decay lets them."""
    flat, unravel = ravel_pytree(w)
    floor = 2 * config.decay
    if name == "Hessian":
        return whitened(problem, w, floor=floor)
    if name == "layers":
        sizes = jax.tree.map(lambda a: jnp.full_like(a, jnp.sqrt(jnp.mean(a**2))), w)
        return Whitening(ravel_pytree(sizes)[0])
    if name == "diagonal":
        return Whitening((jnp.abs(diagonal(problem, flat, unravel)) + floor) ** -0.5)
    return Whitening(jnp.ones_like(flat))


def diagonal(problem: gd.Problem, flat, unravel):
    """The Hessian's diagonal, from its products with all unit vectors."""

    def entry(i):
        unit = jnp.zeros_like(flat).at[i].set(1)
        product = gd.curvature.HessianOperator(problem, unravel(flat)).mv(unravel(unit))
        return ravel_pytree(product)[0][i]

    return jax.lax.map(entry, jnp.arange(flat.size), batch_size=64)


def gains(dataset: xr.Dataset) -> dict[str, Interval]:
    """What each kind of coordinates finds beyond the one before it, paired over the networks."""
    return {
        b: paired(dataset.log_volume.sel(known=a).values, dataset.log_volume.sel(known=b).values)
        for a, b in itertools.pairwise(KNOWN)
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Log volumes in nats, and the differences between coordinates."""
    found: dict = {
        "parameters": dataset.attrs["parameters"],
        "test_accuracy": median(dataset.test_accuracy.values)[:3],
        "cost": median(dataset.cost.values)[:3],
    }
    for name in KNOWN:
        one = dataset.sel(known=name).dropna("network")
        found |= {
            f"{name}_log_volume": mean(one.log_volume.values)[:3],
            f"{name}_effective_directions": float(one.effective_directions.median()),
            f"{name}_lower_bounds": float(one.lower_bound.mean()),
            f"{name}_standard_error": float(one.standard_error.median()),
        }
    for name, one in gains(dataset).items():
        found[f"{name}_gain"] = one[:3]
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Volumes by what is known of the basin."""
    return {"volumes": plots.by_coordinates(dataset.log_volume.values, KNOWN, gains(dataset))}


if __name__ == "__main__":
    common.main("basin_volumes", Config, run, plot, numbers)
