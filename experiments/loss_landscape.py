"""What does the cost look like around the end of a descent, and along its trajectory?

    C(a, b) = C(w_end + a d_1 + b d_2),   |d_1| = |d_2| = 1

The digit network descends from one start with three learning rates: far too small, good, far too
large. Each end is seen on four planes of a 13,002-dimensional space: two random directions, two
random ones scaled to each neuron's weights, the Hessian's two top eigenvectors, and the two
principal components of the way itself. The first three have the same size and colours, so that they
can be compared. The way does not lie in its plane: its distance from it, its own cost, and the cost
of the nearest point in the plane stand beside each other.

The pictures show one start; the numbers are medians over 16, with intervals.

    python experiments/loss_landscape.py           (about 6 min)

Expected: at the good rate (2) an end of cost 0.044 in a bowl that rises by 0.004 at distance 5
along a random direction and by more than 1 along the top eigenvector; a plane that explains 98 % of
the way, and yet shows its start, of cost 2.5, at 0.86. At 30 the run stalls: cost 1.0 wherever one
looks. Refuted where an interval over starts holds no such number.
"""

from dataclasses import dataclass, replace

import common
import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import landscape
from gdjax.plots import animations, landscapes
from gdjax.statistics import median

VIEWS = {
    "random": "random directions",
    "neuron": "random, neuron-scaled",
    "eigenvectors": "top eigenvectors",
}
BRANCHES = ("too small", "good", "too large")
RISE_AT = 5.0  # distance at which the rise of the cost is told


@dataclass(frozen=True)
class Config:
    """Which descents, and how much of the cost is looked at.

    Args:
        data: name of the data set.
        learning_rates: far too small, good, far too large.
        epochs: passes over the training set.
        batch_size: images a step.
        seed: of the starting point and the order of mini-batches, in the pictures.
        seeds: of those that the numbers are taken over.
        direction_seed: of the random directions.
        snapshots: parameters kept along the way, about.
        points: along each side of a plane.
        reach: how far the planes around the end reach, to either side.
        samples: only the first so many training images; None takes all.
    """

    data: str = "mnist5k"
    learning_rates: tuple[float, float, float] = (0.03, 2.0, 30.0)
    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    seeds: int = 16
    direction_seed: int = 0
    snapshots: int = 100
    points: int = 51
    reach: float = 15.0
    samples: int | None = None


def descend(config, problem, rule):
    """One descent with snapshots, the first of them its start."""
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
    """One descent, and its end on lines and planes."""
    run = descend(config, problem, rule)
    way = landscape.trajectory_plane(
        problem, run.snapshots, step=run.snapshot_step, points=config.points
    ).assign_attrs(
        outcome=str(run.outcome),
        test_accuracy=float(run.metrics["test_accuracy"][-1]),
        seed=config.seed,
    )
    side = np.linspace(-config.reach, config.reach, config.points)
    step = config.reach / 150
    along = np.linspace(-config.reach, config.reach, 301)
    if not planes:  # what the numbers need, and no more
        along = np.array([-RISE_AT, -step, 0, step, RISE_AT])
    found = {"way": way}
    key = jax.random.key(config.direction_seed)
    for view in VIEWS:
        two = landscape.plane_directions(problem, run.params, view, key=key)
        first = dict([next(iter(two.items()))])
        said = {"view": VIEWS[view], "seed": config.direction_seed}
        if planes:
            found[view] = landscape.plane(problem, run.params, two, side, side).assign_attrs(said)
        found[f"line_{view}"] = landscape.line(problem, run.params, first, along).assign_attrs(said)
    return found


def run(config: Config) -> xr.DataTree:
    """All three descents, a branch each; and the numbers of all starts, in the branch "seeds"."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    # One rule for all starts: one program.
    rules = {
        branch: (rate, optax.sgd(rate))
        for branch, rate in zip(BRANCHES, config.learning_rates, strict=True)
    }
    parts = {
        f"{branch}/{name}": seen.assign_attrs(learning_rate=rate)
        for branch, (rate, rule) in rules.items()
        for name, seen in look(config, problem, rule).items()
    }
    coarse = replace(config, points=5)
    rows = [
        [
            told(look(replace(coarse, seed=seed), problem, rule, planes=False))
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


def seen(tree, branch, name) -> xr.Dataset:
    """One view of one descent's end."""
    return tree[f"{branch}/{name}"].to_dataset()


def curvature(line) -> float:
    """Second difference of the cost at the middle of a line."""
    cost, a = line.cost.values.astype(float), line.a.values
    middle = len(a) // 2
    step = a[middle + 1] - a[middle]
    return float((cost[middle + 1] + cost[middle - 1] - 2 * cost[middle]) / step**2)


def told(parts: dict[str, xr.Dataset]) -> dict[str, float]:
    """How one descent ended, what its plane hides, and how steep it is around its end."""
    way = parts["way"]
    gap = np.abs(way.path_cost.values - way.path_cost_in_slice.values)
    found = {
        "final_cost": float(way.path_cost[-1]),
        "test_accuracy": float(way.attrs["test_accuracy"]),
        "explained_by_1": float(way.explained[0]),
        "explained_by_2": float(way.explained[:2].sum()),
        "off_plane_most": float(way.path_off.max()),
        "start_cost": float(way.path_cost[0]),
        "start_cost_in_plane": float(way.path_cost_in_slice[0]),
        "difference_after_start_most": float(gap[1:].max()),
    }
    for view in VIEWS:
        line = parts[f"line_{view}"]
        rise = line.cost.sel(a=[-RISE_AT, RISE_AT], method="nearest").mean()
        found[f"rise_along_{view}"] = float(rise - line.cost.sel(a=0, method="nearest"))
        found[f"curvature_along_{view}"] = curvature(line)
    tops = parts["line_eigenvectors"].a.attrs["long_name"]
    found["largest_eigenvalue"] = float(tops.split("= ")[1])
    return found


def numbers(tree) -> dict:
    """Of the pictures' start, and medians over all starts with their intervals."""
    found = {}
    seeds = tree["seeds"].to_dataset()
    for number, branch in enumerate(BRANCHES):
        prefix = branch.replace(" ", "_")
        names = ("way", *(f"line_{view}" for view in VIEWS))
        parts = {name: seen(tree, branch, name) for name in names}
        way = parts["way"].attrs
        found |= {f"{prefix}_learning_rate": way["learning_rate"]}
        found |= {f"{prefix}_outcome": way["outcome"]}
        found |= {f"{prefix}_{name}": value for name, value in told(parts).items()}
        for view in VIEWS:
            lowest = float(seen(tree, branch, view).cost.min())
            found[f"{prefix}_plane_{view}_lowest"] = lowest
        for name in map(str, seeds.data_vars):
            values = seeds[name].values[number]
            if np.any(~np.isnan(values)):
                found[f"{prefix}_{name}_over_seeds"] = median(values)[:3]
    return found | {"seeds": seeds.sizes["seed"]}


def title(tree, branch) -> str:
    """Of one descent, for pictures."""
    way = seen(tree, branch, "way").attrs
    rate, share = way["learning_rate"], way["test_accuracy"]
    return f"learning rate {rate:g}, {branch}: {share:.1%} right"


def plot(tree) -> dict:
    """Ways, ends, the best end as a surface and on lines, and the descent in motion."""
    ways = {title(tree, branch): seen(tree, branch, "way") for branch in BRANCHES}
    ends = {
        title(tree, branch): {text: seen(tree, branch, view) for view, text in VIEWS.items()}
        for branch in BRANCHES
    }
    good = title(tree, "good")
    lines = {view: seen(tree, "good", f"line_{view}") for view in VIEWS}
    tops = numbers(tree)["good_largest_eigenvalue"]
    return {
        "descents": landscapes.descents(
            ways, title=f"{len(ways)} descents from one start, on their planes"
        ),
        "planes": landscapes.planes(
            ends, title="Around the ends: one scale of distance and of cost"
        ),
        "surface": landscapes.surface(ways[good], title=good),
        "lines": landscapes.lines(
            {line.a.attrs["long_name"]: line for line in lines.values()},
            parabolas={lines["eigenvectors"].a.attrs["long_name"]: tops},
            title=f"{good}; the cost along {len(lines)} directions",
        ),
        "descent": animations.animation(ways[good], title=good),
    }


if __name__ == "__main__":
    common.main("loss_landscape", Config, run, plot, numbers)
