"""The cost on lines and planes through the end points of descents."""

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import landscape

from .config import Config
from .summary import RISE_AT, VIEWS


def descend(config, problem, rule):
    """Return one descent with snapshots of the parameters, the first at the start."""
    streams = gd.streams(0, seed=config.seed)
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    every = max(1, steps // config.snapshots)
    return gd.descend(
        problem,
        rule,
        problem.init(streams.init),
        steps,
        key=streams.order,
        batch_size=config.batch_size,
        record_every=every,
        snapshot_every=every,
    )


def look(
    config: Config, problem, rule: optax.GradientTransformation, *, planes: bool = True
) -> dict[str, xr.Dataset]:
    """Return the trajectory of one descent, and the cost around its end point.

    Args:
        config: settings of the descent, and of the lines and planes.
        problem: problem to train on.
        rule: optimizer.
        planes: whether to evaluate the cost on planes and on full lines; if not, the cost is
            evaluated only at a few points of each line.

    Returns:
        The parts of a tree: under "way", the trajectory and the cost on its plane; under the name
        of each view, the cost on a plane; and under "line_<view>", the cost on a line.
    """
    run = descend(config, problem, rule)
    trajectory = landscape.trajectory_plane(
        problem, run.snapshots, step=run.snapshot_step, points=config.points
    ).assign_attrs(
        outcome=str(run.outcome),
        test_accuracy=float(run.metrics["test_accuracy"][-1]),
        seed=config.seed,
    )
    side = np.linspace(-config.reach, config.reach, config.points)
    step = config.reach / 150
    along = np.linspace(-config.reach, config.reach, 301)
    if not planes:  # the statistics over starts need only these points
        along = np.array([-RISE_AT, -step, 0, step, RISE_AT])
    parts = {"way": trajectory}
    key = jax.random.key(config.direction_seed)
    for view in VIEWS:
        two = landscape.plane_directions(problem, run.params, view, key=key)
        name, first = next(iter(two.items()))
        attributes = {"view": VIEWS[view], "seed": config.direction_seed}
        if planes:
            plane = landscape.plane(problem, run.params, two, side, side)
            parts[view] = plane.assign_attrs(attributes)
        line = landscape.line(problem, run.params, first, along, name=name)
        parts[f"line_{view}"] = line.assign_attrs(attributes)
    return parts
