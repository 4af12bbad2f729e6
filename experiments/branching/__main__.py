"""Does a change of one weight determine in which valley a descent ends?

    w'_t = w_t + sigma e_i for one weight i;   both descents continue with the same mini-batches

    floor = largest barrier between a descent and its repetition with pixels in reversed order
    other = median barrier between descents from independent starts of the same kind

    python -m experiments.branching           (about 4 min of processor time)

Expected: a branch ends in another valley after an early change, and not after a late one
(published: arXiv 2506.13234, for ResNets on CIFAR, where the valley is determined within the first
few percent of training). This is refuted if no branch at step 0 ends in another valley, or if at
least as many branches do so at the last step as at the first.
"""

from collections.abc import Mapping

import xarray as xr

from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import barriers_of_starts
from .summary import OTHER_VALLEY, in_another_valley, numbers, relative


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
    command.main(Config, run, plot, numbers)
