"""Are wide valleys found more often than narrow ones, and do their networks classify better?

    log V = log volume with cost below C(w*) + level,   coefficient = b E[C(w) - C(w*)]
    r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)),   z the cost of the minimum

    python -m experiments.widths_of_valleys           (about 5 min of processor time)

Expected: the number of starts increases with the volume (a mean rank correlation with an interval
above 0), since the probability that a start lies in a basin is proportional to its volume; the
accuracy increases with the width (published for large networks, and disputed). This is refuted by
intervals that contain 0 or lie below it.

References: Davison and Hinkley 1997, *Bootstrap Methods and their Application*, 3.8 (resampling at
two levels); Hesterberg 2015, *What teachers should know about the bootstrap*, The American
Statistician 69, 371 (intervals of few sets).
"""

import xarray as xr

from experiments.shared import command
from gdjax.errors import InputError

from . import figures as plots
from .config import Config
from .model import complete_sets, minima_of_set, problem_of
from .summary import correlations, numbers


def run(config: Config) -> xr.Dataset:
    """Return the minima of all sets of images, with the width of each minimum."""
    if config.sets < 2:
        raise InputError(f"sets = {config.sets}, expected at least 2 for an interval over sets")
    indices = complete_sets(config)
    first = problem_of(config, indices[0])
    sets = [minima_of_set(config, index, first) for index in indices]
    return xr.concat(sets, "minimum", combine_attrs="drop").assign_attrs(
        resamples=config.resamples,
        kinds=[dict(one.attrs["kinds"]) for one in sets],
        parameters=sets[0].attrs["parameters"],
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw the number of starts and the accuracy of minima against both widths.

    A second figure shows the correlations in each set of images.
    """
    rank_correlations = correlations(dataset)
    return {
        "widths": plots.widths_of_minima(dataset, rank_correlations),
        "sets": plots.correlations_of_sets(rank_correlations),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
