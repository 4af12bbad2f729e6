"""What does the cost look like around the end point of a descent, and along its trajectory?

    C(a, b) = C(w_end + a d_1 + b d_2),   |d_1| = |d_2| = 1

    python -m experiments.loss_landscape           (about 6 min)

Expected: at the good rate (2) the descent ends at cost 0.044. At distance 5 from the end point, the
cost is higher by 0.004 along a random direction and by more than 1 along the leading eigenvector.
The two principal components explain 98 % of the squared distances of the trajectory from its end
point; the cost at the start is 2.5, and 0.86 at its projection onto their plane. At rate 30 the run
stalls, and the cost is 1.0 everywhere. This is refuted if the interval over starts of one of these
numbers does not contain the expected number.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax import landscape
from gdjax.plots import animations, landscapes
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Settings of the descents, and of the lines and planes around their end points."""

    data: str = "mnist5k"  # name of the data set
    # a learning rate that is far too small, a good one, and one far too large
    learning_rates: tuple[float, float, float] = (0.03, 2.0, 30.0)
    epochs: int = 20  # number of passes over the training set
    batch_size: int = 32  # number of images per step
    seed: int = 0  # seed of the starting point and of the order of mini-batches in the figures
    seeds: int = 16  # number of starting points for the statistics
    direction_seed: int = 0  # seed of the random directions
    snapshots: int = 100  # approximate number of snapshots of the parameters along the descent
    points: int = 51  # number of grid points along each side of a plane
    reach: float = 15.0  # half the side length of the planes around the end point
    # number of training images, taken from the start of the set; by default all
    samples: int | None = None


def descend(config, problem, rule):
    """Return one descent with snapshots of the parameters, the first at the start."""
    streams = gd.run_keys(0, seed=config.seed)
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


VIEWS = {
    "random": "random directions",
    "neuron": "random, neuron-scaled",
    "eigenvectors": "top eigenvectors",
}


BRANCHES = ("too small", "good", "too large")
RISE_AT = 5.0  # distance at which the rise of the cost is reported


def dataset_of(tree, branch, name) -> xr.Dataset:
    """Return one Dataset of a descent, such as its trajectory or the cost on a plane."""
    return tree[f"{branch}/{name}"].to_dataset()


def curvature(line) -> float:
    """Return the curvature at the middle of a line, from second differences."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def statistics_of_end(parts: dict[str, xr.Dataset]) -> dict[str, float]:
    """Return statistics of one descent, and of the cost around its end point."""
    trajectory = parts["way"]
    gap = np.abs(trajectory.path_cost.values - trajectory.path_cost_in_slice.values)
    summary = {
        "final_cost": float(trajectory.path_cost[-1]),
        "test_accuracy": float(trajectory.attrs["test_accuracy"]),
        "explained_by_1": float(trajectory.explained[0]),
        "explained_by_2": float(trajectory.explained[:2].sum()),
        "off_plane_most": float(trajectory.path_off.max()),
        "start_cost": float(trajectory.path_cost[0]),
        "start_cost_in_plane": float(trajectory.path_cost_in_slice[0]),
        "difference_after_start_most": float(gap[1:].max()),
    }
    for view in VIEWS:
        line = parts[f"line_{view}"]
        rise = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest").mean()
        summary[f"rise_along_{view}"] = float(rise - line.cost.sel(a=0, method="nearest"))
        summary[f"curvature_along_{view}"] = curvature(line)
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    summary["largest_eigenvalue"] = float(tops.split("= ")[1])
    return summary


def numbers(tree) -> dict:
    """Return the statistics of the start in the figures, and medians over all starts."""
    summary = {}
    seeds = tree["seeds"].to_dataset()
    for number, branch in enumerate(BRANCHES):
        prefix = branch.replace(" ", "_")
        names = ("way", *(f"line_{view}" for view in VIEWS))
        parts = {name: dataset_of(tree, branch, name) for name in names}
        trajectory = parts["way"].attrs
        summary |= {f"{prefix}_learning_rate": trajectory["learning_rate"]}
        summary |= {f"{prefix}_outcome": trajectory["outcome"]}
        summary |= {f"{prefix}_{name}": value for name, value in statistics_of_end(parts).items()}
        for view in VIEWS:
            lowest = float(dataset_of(tree, branch, view).cost.min())
            summary[f"{prefix}_plane_{view}_lowest"] = lowest
        for name in map(str, seeds.data_vars):
            values = seeds[name].values[number]
            if np.any(~np.isnan(values)):
                summary[f"{prefix}_{name}_over_seeds"] = median(values)[:3]
    return summary | {"seeds": seeds.sizes["seed"]}


def title(tree, branch) -> str:
    """Return the title of one descent in figures."""
    trajectory = dataset_of(tree, branch, "way").attrs
    rate, share = trajectory["learning_rate"], trajectory["test_accuracy"]
    return f"learning rate {rate:g}, {branch}: test accuracy {share:.1%}"


def run(config: Config) -> xr.DataTree:
    """Return a tree with a branch per rate, and statistics over starts in "seeds"."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    # There is one optimizer per rate for all starts, so that they share a compilation.
    rules = {
        branch: (rate, optax.sgd(rate))
        for branch, rate in zip(BRANCHES, config.learning_rates, strict=True)
    }
    parts = {
        f"{branch}/{name}": records.assign_attrs(learning_rate=rate)
        for branch, (rate, rule) in rules.items()
        for name, records in look(config, problem, rule).items()
    }
    coarse = replace(config, points=5)
    rows = [
        [
            statistics_of_end(look(replace(coarse, seed=seed), problem, rule, planes=False))
            for seed in range(config.seeds)
        ]
        for _, rule in rules.values()
    ]
    seeds = xr.Dataset(
        {
            name: (("branch", "seed"), [[row[name] for row in branch] for branch in rows])
            for name in rows[0][0]
        },
        {"branch": [name.replace(" ", "_") for name in BRANCHES], "seed": np.arange(config.seeds)},
    )
    seeds = seeds.assign_coords(branch=seeds.branch.astype(object))
    return xr.DataTree.from_dict({**parts, "seeds": seeds})


def plot(tree) -> dict:
    """Draw trajectories, planes, a surface, lines, and an animation of the descent."""
    trajectories = {title(tree, branch): dataset_of(tree, branch, "way") for branch in BRANCHES}
    ends = {
        title(tree, branch): {text: dataset_of(tree, branch, view) for view, text in VIEWS.items()}
        for branch in BRANCHES
    }
    good = title(tree, "good")
    lines = {view: dataset_of(tree, "good", f"line_{view}") for view in VIEWS}
    tops = numbers(tree)["good_largest_eigenvalue"]
    return {
        "descents": landscapes.descents(
            trajectories,
            title=f"{len(trajectories)} descents from one start, on the planes of their principal "
            "components",
        ),
        "planes": landscapes.planes(ends, title="Cost around the end points, at equal scales"),
        "surface": landscapes.surface(trajectories[good], title=good).figure,
        "lines": landscapes.lines(
            {line.a.attrs["long_name"]: line for line in lines.values()},
            parabolas={lines["eigenvectors"].a.attrs["long_name"]: tops},
            title=f"{good}; the cost along {len(lines)} directions",
        ).figure,
        "descent": animations.animation(trajectories[good], title=good),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
