"""Volumes of basins, estimated in several kinds of coordinates."""

import gzip
import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.volumes.basin_volume import basin_volume
from gdjax.volumes.mcmc import Whitening, hessian_whitening

from .config import Config


def digits8() -> tuple[np.ndarray, np.ndarray]:
    """Return images [1797, 64] with pixels in [0, 1], and their labels.

    The data are read from a file of the scikit-learn package.
    """
    package = importlib.util.find_spec("sklearn")  # importing it would take seconds
    if package is None or package.origin is None:
        raise gd.errors.DataError(
            "the 8x8 digits are part of scikit-learn, which is not installed; install scikit-learn"
        )
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(file) as lines:
        rows = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    return rows[:, :-1] / 16, rows[:, -1].astype(np.int64)


def volumes(config: Config, problem: gd.Problem, ends, name: str, key):
    """Return the volumes of the networks' basins in one kind of coordinates.

    With the full Hessian, only the basins of the first `config.whole` networks are measured; all
    other values are NaN.
    """
    few = config.whole if name == "Hessian" else config.seeds
    keys = jax.random.split(key, config.seeds)[:few]

    @jax.jit
    def one(at, problem):
        w, key = at
        scale = coordinates(config, problem, w, name)
        options = {"level": config.level, "directions": config.directions}
        volume = basin_volume(problem, w, key=key, whitening=scale, **options)
        return volume._replace(radii=jnp.median(volume.radii))

    each = [
        jax.device_get(one((jax.tree.map(lambda a, i=i: a[i], ends), keys[i]), problem))
        for i in range(few)
    ]
    missing = jax.tree.map(lambda a: np.full(np.shape(a), np.nan), each[0])
    each += [missing] * (config.seeds - few)
    return jax.tree.map(lambda *a: np.stack(a).astype(float), *each)


def coordinates(config: Config, problem: gd.Problem, w, name: str) -> Whitening:
    """Return the whitening that defines one kind of coordinates.

    The Hessian and its diagonal are damped with the curvature of the weight decay.
    """
    flat, unravel = ravel_pytree(w)
    floor = 2 * config.decay
    if name == "Hessian":
        return hessian_whitening(problem, w, damping=floor)
    if name == "layers":
        sizes = jax.tree.map(lambda a: jnp.full_like(a, jnp.sqrt(jnp.mean(a**2))), w)
        return Whitening(ravel_pytree(sizes)[0])
    if name == "diagonal":
        return Whitening((jnp.abs(diagonal(problem, flat, unravel)) + floor) ** -0.5)
    return Whitening(jnp.ones_like(flat))


def diagonal(problem: gd.Problem, flat, unravel):
    """Return the diagonal of the Hessian, computed from products with unit vectors."""

    def entry(i):
        unit = jnp.zeros_like(flat).at[i].set(1)
        product = gd.curvature.HessianOperator(problem, unravel(flat)).mv(unravel(unit))
        return ravel_pytree(product)[0][i]

    return jax.lax.map(entry, jnp.arange(flat.size), batch_size=64)
