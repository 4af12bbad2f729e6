"""How high are the barriers between two networks trained from different starts?

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1)))

Digit networks of three widths (784-16-16-10, 784-64-64-10, 784-256-256-10) are trained on mnist5k
from independent starts and orders of mini-batches, with Adam at one learning rate for all widths.
For every pair of networks of one width, the cost is computed on the straight line between them,
before and after the neurons of the first network are matched (in order and sign) to those of the
second by their weights. For some disjoint pairs, the cost is also computed on two more paths: the
straight line after matching by activations, and a quadratic Bezier curve whose control point is
trained on the mean cost along the curve.

    python experiments/mode_connectivity.py           (about 3 min)

Expected: the barrier on the straight line is 0.65 to 0.70 at every width, not far below the cost of
the best constant prediction (0.9). Matching lowers it by three quarters at width 16 and by 99 % at
width 256 (published for 784-512-512-512-10: 0.742 before, 0.088 after). The barrier on the curve is
almost zero: 0.02 at width 16, 0.0005 at width 64 and zero at width 256.
"""

from dataclasses import dataclass

import common
import xarray as xr
from drawings.connectivity import barrier_distributions, profiles
from methods.mode_connectivity import paths_of_width
from summaries.mode_connectivity import barriers_of, kinds_of, medians, numbers

from gdjax.plots.barriers import barrier_matrix


@dataclass(frozen=True)
class Config:
    """Networks, and the paths between them.

    Args:
        data: name of the data set.
        samples: number of training images, taken from the start of the set; by default all.
        widths: number of neurons in each of the two hidden layers.
        networks: number of networks of each width.
        epochs: number of passes over the training set for the networks.
        curve_epochs: number of passes over the training set for the curves.
        learning_rate: learning rate of Adam, for networks and curves.
        batch_size: number of images per step.
        points: number of points along each path, including its end points.
        nodes: number of quadrature nodes of the mean cost along a curve.
        images: number of training images for the matching by activations.
    """

    data: str = "mnist5k"
    samples: int | None = None
    widths: tuple[int, ...] = (16, 64, 256)
    networks: tuple[int, ...] = (12, 12, 6)
    epochs: int = 15
    curve_epochs: int = 15
    learning_rate: float = 0.003
    batch_size: int = 32
    points: int = 25
    nodes: int = 5
    images: int = 1000


def run(config: Config) -> xr.Dataset:
    """Return the paths of all widths, padded with NaN for widths with fewer networks."""
    parts = [
        paths_of_width(config, width, count)
        for width, count in zip(config.widths, config.networks, strict=True)
    ]
    joined = xr.concat(parts, "width", join="outer")
    return joined.assign_coords(width=list(config.widths))


def plot(dataset: xr.Dataset) -> dict:
    """Draw costs along paths, barriers of all pairs, and matrices of the first width."""
    each = {f"784-{w}-{w}-10": dataset.sel(width=w) for w in dataset.width.values}
    name, narrow = next(iter(each.items()))
    finite = narrow.dropna("run", how="all", subset=["cost"])
    finite = finite.sel(other=finite.run.values)
    return {
        "along": profiles(
            dataset.t.values,
            {name: kinds_of(one, "cost_along") for name, one in each.items()},
            {name: kinds_of(one, "accuracy_along") for name, one in each.items()},
            baseline=dataset.attrs["baseline"],
            title=f"Between networks {name}: median barriers {medians(narrow)}",
        ),
        "barriers": barrier_distributions(
            {name: barriers_of(one) for name, one in each.items()},
            title=f"Median barriers of {name}: {medians(narrow)}",
        ),
        "matrix": barrier_matrix(
            {
                "before matching": finite.barrier.values,
                "after matching": finite.matched_barrier.values,
            },
            title=f"Barriers between {len(finite.run)} networks {name}",
        ),
    }


if __name__ == "__main__":
    common.main("mode_connectivity", Config, run, plot, numbers)
