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

from dataclasses import replace

import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.plots import animations, landscapes

from .config import Config
from .model import look
from .summary import BRANCHES, VIEWS, dataset_of, numbers, statistics_of_end, title


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
