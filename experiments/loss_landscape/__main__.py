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

from dataclasses import dataclass

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.runs import with_snapshots
from experiments.shared.trees import datasets
from gdjax import landscape
from gdjax.base.statistics import median
from gdjax.plots import animations, landscapes


@dataclass(frozen=True)
class Config:
    """Settings of the descents, and of the lines and planes around their end points."""

    data: str = "mnist5k"  # name of the data set
    learning_rates: tuple[float, float, float] = (0.03, 2.0, 30.0)  # too small, good and too large
    epochs: int = 20  # number of passes over the training set
    batch_size: int = 32  # number of images per step
    seeds: int = 16  # number of starting points for the statistics; the first is in the figures
    snapshots: int = 100  # approximate number of snapshots of the parameters along the descent
    points: int = 51  # number of grid points along each side of a plane
    reach: float = 15.0  # half the side length of the planes around the end point
    samples: int | None = None  # number of training images, from the start of the set; default all


VIEWS = {
    "random": "random directions",
    "neuron": "random, neuron-scaled",
    "eigenvectors": "top eigenvectors",
}
CASES = ("too small", "good", "too large")
RISE_AT = 5.0  # distance at which the rise of the cost is reported


def directions(problem, run, view: str) -> dict:
    """Return the two directions of a view from the end point of a descent."""
    return landscape.plane_directions(problem, run.params, view, key=jax.random.key(0))


def trajectory_and_lines(config: Config, problem, rule, seed: int, along, points: int):
    """Return one descent, and parts of a tree with its trajectory and the cost on lines.

    The trajectory is under "way", with the cost on its plane; the lines, through the end point, are
    under "line_<view>".
    """
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    every = max(1, steps // config.snapshots)
    run = with_snapshots(problem, rule, steps, every, batch_size=config.batch_size, seed=seed)
    way = landscape.trajectory_plane(problem, run.snapshots, step=run.snapshot_step, points=points)
    accuracy = float(run.metrics["test_accuracy"][-1])
    trace = gd.curvature.hessian_trace(problem, run.params, key=jax.random.key(0)).value
    attributes = {"outcome": str(run.outcome), "test_accuracy": accuracy}
    attributes["mean_curvature"] = float(trace) / problem.network.parameter_count
    parts = {"way": way.assign_attrs(attributes)}
    for view in VIEWS:
        name, first = next(iter(directions(problem, run, view).items()))
        parts[f"line_{view}"] = landscape.line(problem, run.params, first, along, name=name)
    return run, parts


def run(config: Config) -> xr.DataTree:
    """Return a tree with a case per rate; statistics over starts are under "seeds"."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    full, step = np.linspace(-config.reach, config.reach, 301), config.reach / 150
    coarse = np.array([-RISE_AT, -step, 0, step, RISE_AT])  # enough for the statistics over starts
    side = np.linspace(-config.reach, config.reach, config.points)
    tree = {}
    for case, rate in zip(CASES, config.learning_rates, strict=True):
        rule = optax.sgd(rate)  # one for all starts, so that they share a compilation
        run, parts = trajectory_and_lines(config, problem, rule, 0, full, config.points)
        for view in VIEWS:
            around = directions(problem, run, view)
            parts[view] = landscape.plane(problem, run.params, around, side, side)
        starts = range(config.seeds)
        ways = [trajectory_and_lines(config, problem, rule, k, coarse, 5)[1] for k in starts]
        parts["seeds"] = xr.concat([statistics_of_end(way) for way in ways], "seed")
        for name, part in parts.items():
            tree[f"{case}/{name}"] = part.assign_attrs(learning_rate=rate)
    return xr.DataTree.from_dict(tree)


def curvature(line) -> float:
    """Return the curvature at the middle of a line, from second differences."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def rise(line) -> float:
    """Return the mean rise of the cost at a fixed distance on both sides of the middle."""
    ends = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest")
    return float(ends.mean() - line.cost.sel(a=0, method="nearest"))


def statistics_of_end(parts: dict[str, xr.Dataset]) -> xr.Dataset:
    """Return statistics of one descent, and of the cost on lines through its end point."""
    way, lines = parts["way"], [parts[f"line_{view}"] for view in VIEWS]
    cost, in_plane = way.path_cost.values, way.path_cost_in_slice.values
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    return xr.Dataset(
        {
            "final_cost": cost[-1],
            "test_accuracy": way.attrs["test_accuracy"],
            "explained_by_1": way.explained.values[0],
            "explained_by_2": way.explained.values[:2].sum(),
            "off_plane_most": way.path_off.values.max(),
            "start_cost": cost[0],
            "start_cost_in_plane": in_plane[0],
            "difference_after_start_most": np.abs(cost - in_plane)[1:].max(),
            "rise": ("view", [rise(line) for line in lines]),
            "curvature": ("view", [curvature(line) for line in lines]),
            "largest_eigenvalue": float(tops.split("= ")[1]),
            "mean_curvature": way.attrs["mean_curvature"],
        },
        {"view": np.array([*VIEWS], object)},
    ).astype(float)


def nested(statistics: xr.Dataset, number) -> dict:
    """Return a number for each statistic by name; those of lines are below `view`."""

    def entries(part):
        return {name: number(values) for name, values in part.items()}

    lines = statistics[["rise", "curvature"]]
    by_view = {view: entries(lines.sel(view=view)) for view in VIEWS}
    return entries(statistics.drop_dims("view")) | {"view": by_view}


def numbers(tree) -> dict:
    """Return the statistics of the start in the figures, and medians over all starts."""

    def over_seeds(values):
        return median(values)[:3] if values.notnull().any() else None

    summary = {}
    for case in CASES:
        parts = datasets(tree[case])
        entries = {name: parts["way"].attrs[name] for name in ("learning_rate", "outcome")}
        entries |= nested(statistics_of_end(parts), float)
        for view, of_view in entries["view"].items():
            of_view["plane_lowest"] = float(parts[view].cost.min())
        summary[case] = entries | {"over_seeds": nested(parts["seeds"], over_seeds)}
    return {"case": summary, "seeds": parts["seeds"].sizes["seed"]}


def plot(tree) -> dict:
    """Draw trajectories, planes, a surface, lines, and an animation of the descent."""
    ways, ends = {}, {}
    for case in CASES:
        parts = datasets(tree[case])
        rate, share = (parts["way"].attrs[name] for name in ("learning_rate", "test_accuracy"))
        title = f"rate {rate:g}, {case}: accuracy {share:.1%}"
        ways[title] = parts["way"]
        ends[title] = {text: parts[view] for view, text in VIEWS.items()}
    good = [*ways][CASES.index("good")]
    of_views = [tree[f"good/line_{view}"].to_dataset() for view in VIEWS]
    lines = {line.a.attrs["long_name"]: line for line in of_views}
    *_, leading = lines
    return {
        "descents": landscapes.descents(
            ways,
            title=f"{len(ways)} descents from one start, on the planes of their principal "
            "components",
        ),
        "planes": landscapes.planes(ends, title="Cost around the end points, at equal scales"),
        "surface": landscapes.surface(ways[good], title=good).figure,
        "lines": landscapes.lines(
            lines,
            parabolas={leading: float(leading.split("= ")[1])},
            title=f"{good}; the cost along {len(lines)} directions",
        ).figure,
        "descent": animations.animation(ways[good], title=good),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
