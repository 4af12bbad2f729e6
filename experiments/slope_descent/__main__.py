"""On a curve: to which valley does descent lead, and does it find the lowest one?

    x_{t+1} = x_t - learning_rate * f'(x_t)

    python -m experiments.slope_descent           (about 5 s)

Expected: every descent ends in the valley that the maxima predict, within 1e-8 of its classified
minimum.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.trees import datasets

from . import figures
from .summary import numbers, shares, shrinks_by

GRID = 1001  # number of points of a drawn curve
DRAWN = 21  # approximate number of paths drawn on each curve


@dataclass(frozen=True)
class Config:
    """Curves, and settings of the descents on them."""

    # names of 1-D test functions
    functions: tuple[str, ...] = ("quartic", "sine_bowl", "two_sines")
    starts: int = 200  # number of starts, evenly spaced over each domain
    steps: int = 400  # number of steps of each descent
    caution: float = 0.5  # learning rate as a share of 1 / max |f''| over the domain; at most 1


def descend(f, learning_rate, starts, steps):
    """Return position, slope and cost at every step, [starts, steps + 1]."""

    def path(start):
        optimizer = optax.sgd(learning_rate)

        def advance(state, _):
            state_next, info = gd.descent.step(f, optimizer, state)
            return state_next, (state.params, info.gradient, info.cost)

        return jax.lax.scan(advance, gd.descent.init(optimizer, start), length=steps + 1)[1]

    return jax.jit(jax.vmap(path))(starts)


def one(config: Config, name: str) -> xr.Dataset:
    """Return all descents on one curve, with the curve and its known critical points."""
    known = gd.problems.find(name)
    ((lo, hi),) = known.domain
    grid = np.linspace(lo, hi, GRID)
    bend = jax.vmap(jax.grad(jax.grad(known.f)))
    learning_rate = config.caution / float(jnp.max(jnp.abs(bend(jnp.asarray(grid)))))
    # Starts are at midpoints, so that each represents an equal share of the domain.
    starts = lo + (hi - lo) * (np.arange(config.starts) + 0.5) / config.starts
    position, slope, cost = descend(known.f, learning_rate, jnp.asarray(starts), config.steps)
    minima = sorted(p.x for p in known.critical_points if p.kind == "minimum")
    maxima = sorted(p.x for p in known.critical_points if p.kind == "maximum")
    at_minima = jnp.asarray(minima)
    return xr.Dataset(
        {
            "curve_x": ("grid", grid),
            "curve_cost": ("grid", np.asarray(jax.vmap(known.f)(jnp.asarray(grid)))),
            "position": (("start", "step"), np.asarray(position)),
            "slope": (("start", "step"), np.asarray(slope)),
            "cost": (("start", "step"), np.asarray(cost)),
            # Index of the minimum nearest to the end point, and of the minimum that lies between
            # the same two maxima as the start.
            "valley": ("start", nearest(position[:, -1], minima)),
            "predicted_valley": ("start", np.searchsorted(maxima, starts)),
            "minimum_x": ("minimum", minima),
            "minimum_cost": ("minimum", np.asarray(jax.vmap(known.f)(at_minima))),
            "minimum_curvature": ("minimum", np.asarray(bend(at_minima))),
            "maximum_x": ("maximum", maxima),
            "learning_rate": ((), learning_rate),
        },
        attrs={"formula": known.formula},
    )


def nearest(ends, minima):
    """Return the index of the minimum nearest to each end point."""
    return np.argmin(np.abs(np.asarray(ends)[:, None] - np.asarray(minima)), axis=1)


def run(config: Config) -> xr.DataTree:
    """Return a tree with the descents on each curve."""
    with jax.enable_x64(True):
        return xr.DataTree.from_dict({name: one(config, name) for name in config.functions})


def plot(tree: xr.DataTree) -> dict:
    """Draw descents and end points on every curve, and single steps on the first."""
    curves = [
        curve.isel(start=slice(None, None, max(1, curve.sizes["start"] // DRAWN))).assign(
            share=("minimum", shares(curve))
        )
        for curve in datasets(tree).values()
    ]
    return {
        "valleys": figures.valleys(curves),
        "steps": figures.steps(curves[0], shrinks_by(curves[0])),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
