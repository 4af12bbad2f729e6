"""Does a change of one weight determine in which valley a descent ends?

    w'_t = w_t + sigma e_i for one weight i;   both descents continue with the same mini-batches

Digit networks are trained on mnist5k from two kinds of random starts. Each descent is repeated,
with one weight changed by sigma at a step t and no other difference. The same number of weights is
tested in each layer, although 96 % of all parameters are in the first layer. Weights of pixels that
are zero in all training images, about a sixth of all parameters, are excluded.

The barrier between the two end points is the largest rise of the cost on the straight line between
them above the linear interpolation of their costs. It is computed before and after the neurons of
one end point are matched to those of the other, and the lower value is used. Both values are upper
bounds on the lowest barrier of any path. Two references define the scale:

    floor = largest barrier between a descent and its repetition with pixels in reversed order
    other = median barrier between descents from independent starts of the same kind

The two descents of the first reference differ only in rounding errors. A branch ends in *another
valley* if its barrier is at least half of `other`, and above the floor. Its barrier is then closer
to that between independent starts than to zero. Counts at other thresholds are also reported.

    python experiments/branching.py           (about 4 min of processor time)

Expected: a branch ends in another valley after an early change, and not after a late one
(published: arXiv 2506.13234, for ResNets on CIFAR, where the valley is determined within the first
few percent of training). This is refuted if no branch at step 0 ends in another valley, or if at
least as many branches do so at the last step as at the first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import common
import xarray as xr
from drawings import branches as plots
from methods.branching import barriers_of_starts
from summaries.branching import OTHER_VALLEY, in_another_valley, numbers, relative


@dataclass(frozen=True)
class Config:
    """Descents, the steps at which they branch, and the changes of single weights.

    Args:
        data: name of the data set.
        samples: number of training images, taken from the start of the set; by default all.
        width: number of neurons in each of the two hidden layers.
        initializers: initializers of the starting weights.
        learning_rate: learning rate of plain gradient descent.
        batch_size: number of images per step.
        epochs: number of passes over the training set.
        branch_steps: steps at which branches start; those beyond the last step are skipped.
        perturbations: sizes sigma of the changes.
        trunks: number of descents (trunks) from which branches start, for each initializer.
        changes: number of weights changed in each layer, one per branch, at each step and size;
            the weights differ between trunks.
        points: number of points along each line, including its end points.
    """

    data: str = "mnist5k"
    samples: int | None = None
    width: int = 16
    initializers: tuple[str, ...] = ("fan_in", "normal")
    learning_rate: float = 3.0
    batch_size: int = 32
    epochs: int = 15
    branch_steps: tuple[int, ...] = (0, 30, 100, 300)
    perturbations: tuple[float, ...] = (0.03, 0.3, 1.0)
    trunks: int = 8
    changes: int = 2
    points: int = 15


def run(config: Config) -> xr.Dataset:
    """Return the barriers between branches and their trunks, and both references."""
    parts = [barriers_of_starts(config, name) for name in config.initializers]
    joined = xr.concat(parts, "initializer", combine_attrs="identical")
    return joined.assign_coords(initializer=list(config.initializers))


def plot(dataset: xr.Dataset) -> Mapping:
    """Draw the distributions of barriers, by layer, step, size and initializer."""
    return {
        "branches": plots.distributions(
            relative(dataset), in_another_valley(dataset), threshold=OTHER_VALLEY
        )
    }


if __name__ == "__main__":
    common.main("branching", Config, run, plot, numbers)
