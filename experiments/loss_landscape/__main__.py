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
from gdjax.plots import animations, landscapes
from gdjax.statistics import median


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
BRANCHES = ("too small", "good", "too large")
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
    parts = {"way": way.assign_attrs(outcome=str(run.outcome), test_accuracy=accuracy)}
    for view in VIEWS:
        name, first = next(iter(directions(problem, run, view).items()))
        parts[f"line_{view}"] = landscape.line(problem, run.params, first, along, name=name)
    return run, parts


def run(config: Config) -> xr.DataTree:
    """Return a tree with a branch per rate, and statistics over starts in "seeds"."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    full, step = np.linspace(-config.reach, config.reach, 301), config.reach / 150
    coarse = np.array([-RISE_AT, -step, 0, step, RISE_AT])  # enough for the statistics over starts
    side = np.linspace(-config.reach, config.reach, config.points)
    tree, rows = {}, []
    for branch, rate in zip(BRANCHES, config.learning_rates, strict=True):
        rule = optax.sgd(rate)  # one for all starts, so that they share a compilation
        run, parts = trajectory_and_lines(config, problem, rule, 0, full, config.points)
        for view in VIEWS:
            around = directions(problem, run, view)
            parts[view] = landscape.plane(problem, run.params, around, side, side)
        for name, records in parts.items():
            tree[f"{branch}/{name}"] = records.assign_attrs(learning_rate=rate)
        starts = range(config.seeds)
        ways = [trajectory_and_lines(config, problem, rule, k, coarse, 5)[1] for k in starts]
        rows.append([statistics_of_end(way) for way in ways])
    seeds = xr.Dataset(
        {
            name: (("branch", "seed"), [[row[name] for row in branch] for branch in rows])
            for name in rows[0][0]
        },
        {"branch": np.array([name.replace(" ", "_") for name in BRANCHES], object)},
    )
    return xr.DataTree.from_dict({**tree, "seeds": seeds})


def curvature(line) -> float:
    """Return the curvature at the middle of a line, from second differences."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def statistics_of_end(parts: dict[str, xr.Dataset]) -> dict[str, float]:
    """Return statistics of one descent, and of the cost around its end point."""
    way = parts["way"]
    gap = np.abs(way.path_cost.values - way.path_cost_in_slice.values)
    summary = {
        "final_cost": way.path_cost[-1],
        "test_accuracy": way.attrs["test_accuracy"],
        "explained_by_1": way.explained[0],
        "explained_by_2": way.explained[:2].sum(),
        "off_plane_most": way.path_off.max(),
        "start_cost": way.path_cost[0],
        "start_cost_in_plane": way.path_cost_in_slice[0],
        "difference_after_start_most": gap[1:].max(),
    }
    for view in VIEWS:
        line = parts[f"line_{view}"]
        rise = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest").mean()
        summary[f"rise_along_{view}"] = rise - line.cost.sel(a=0, method="nearest")
        summary[f"curvature_along_{view}"] = curvature(line)
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    summary["largest_eigenvalue"] = tops.split("= ")[1]
    return {name: float(value) for name, value in summary.items()}


def numbers(tree) -> dict:
    """Return the statistics of the start in the figures, and medians over all starts."""
    summary = {}
    seeds = tree["seeds"].to_dataset()
    for branch in BRANCHES:
        prefix, parts = branch.replace(" ", "_"), datasets(tree[branch])
        entries = {name: parts["way"].attrs[name] for name in ("learning_rate", "outcome")}
        entries |= statistics_of_end(parts)
        entries |= {f"plane_{view}_lowest": float(parts[view].cost.min()) for view in VIEWS}
        for name, values in seeds.sel(branch=prefix).items():
            if values.notnull().any():
                entries[f"{name}_over_seeds"] = median(values.values)[:3]
        summary |= {f"{prefix}_{name}": value for name, value in entries.items()}
    return summary | {"seeds": seeds.sizes["seed"]}


def plot(tree) -> dict:
    """Draw trajectories, planes, a surface, lines, and an animation of the descent."""
    ways, ends = {}, {}
    for branch in BRANCHES:
        parts = datasets(tree[branch])
        rate, share = (parts["way"].attrs[name] for name in ("learning_rate", "test_accuracy"))
        title = f"learning rate {rate:g}, {branch}: test accuracy {share:.1%}"
        ways[title] = parts["way"]
        ends[title] = {text: parts[view] for view, text in VIEWS.items()}
    good, of_good = [*ways][BRANCHES.index("good")], datasets(tree["good"])
    of_views = [of_good[f"line_{view}"] for view in VIEWS]
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
