"""In which coordinates do random directions find most of the volume of a basin?

    log V = log V_n + log |det A| + log mean r^n,   A: the identity, or an estimate of the shape

    python -m experiments.basin_volumes           (about 160 s of processor time)

Expected: the estimates increase from each of these kinds of coordinates to the next (published for
a comparison of Adam's moments with the identity: arXiv 2501.18812); all estimates are lower bounds.
This is refuted if the interval of a paired difference over the networks contains 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.widths_of_valleys import figures as plots

from .config import Config
from .model import digits8, volumes
from .summary import KNOWN, gains, numbers


def problem_of(config: Config) -> gd.Problem:
    """Return the problem of training on the first images and testing on the others."""
    images, labels = digits8()
    n = config.images
    network = gd.problems.Network((images.shape[1], config.hidden, 10))
    test = (images[n:], labels[n:])
    return gd.problems.decayed(network, (images[:n], labels[:n]), config.decay, test=test)


def run(config: Config) -> xr.Dataset:
    """Return log volumes of all basins in all coordinates, NaN if not measured."""
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
    by_knowledge = {name: volumes(config, problem, ends, name, key) for name in KNOWN}
    return xr.Dataset(
        {
            field: (
                ("known", "network"),
                np.stack([getattr(by_knowledge[name], field) for name in KNOWN]),
            )
            for field in ("log_volume", "standard_error", "effective_directions", "lower_bound")
        }
        | {
            "cost": ("network", runs.cost.isel(step=-1).values),
            "test_accuracy": ("network", runs.test_accuracy.isel(step=-1).values),
        },
        {"known": list(KNOWN)},
        {"parameters": problem.network.parameter_count, "directions": config.directions},
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw the volumes for each kind of coordinates."""
    return {"volumes": plots.by_coordinates(dataset.log_volume.values, KNOWN, gains(dataset))}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
