"""Does a decay of the learning rate lower the cost in steep directions only?

    gain = C(constant rate) - C(decay),   fall = C(branch point) - C(decay)

    python -m experiments.river_valleys           (about 7 min on two cores)

Expected: a decay in the top 10 directions alone, with a constant rate in the others, has at least
the gain of the full decay. This is refuted, for a data set and a first step of the decay, if the
interval of its share of the gain lies below 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import trained, valleys
from .summary import case, numbers, shares, tuned_costs


def problems(config: Config) -> list[gd.Problem]:
    """Return the problem of each data set."""
    kinds: tuple[dict[str, Any], ...] = ({}, {"activation": "tanh", "loss": "cross_entropy"})
    widths = (config.width, config.width)
    return [
        gd.problems.digits(name, widths=widths, samples=config.samples, **kind)
        for name, kind in zip(config.data, kinds, strict=False)
    ]


def run(config: Config) -> xr.Dataset:
    """Return results of decays on all data sets, and costs of power decays."""
    every = problems(config)
    parts = [valleys(config, *pair) for pair in zip(every, config.rates, strict=False)]
    on_digits = trained(config, every[0]).values
    dataset = xr.concat(parts, "data")
    return (
        dataset.assign(exponent_cost=(("exponent", "peak", "start"), on_digits))
        .assign_coords(exponent=list(config.exponents), peak=np.geomspace(*config.peaks))
        .assign_attrs(data_sets=list(config.data))
    )


def plot(dataset: xr.Dataset) -> Mapping:
    """Draw decays and shares for each data set, and costs against the exponent."""
    k = int(dataset.directions[len(dataset.directions) // 2])
    labels = {
        f"steep_decay_{k}": f"decay only in top {k},\nconstant rate in the rest",
        f"rest_decay_{k}": f"decay only in the rest,\nconstant rate in top {k}",
        f"onto_{k}": f"gradient projected\nonto top {k}",
        f"off_{k}": f"gradient projected\noff top {k}",
        "averaged": "averaged weights,\nconstant rate",
    }
    splits = {
        "second_order": "second order",
        "line": "line, vectors at branch point",
        "end_line": "line, vectors after decay",
    }
    rows = []
    for number, name in enumerate(dataset.attrs["data_sets"]):
        part = case(dataset, number)
        fall = (part.begin - part.end).sum("branch_step")
        over_starts = shares(part)
        rows.append(
            plots.Valley(
                name=name,
                step=part.record.values,
                cost=part.trunk_cost.values,
                branch_steps=part.branch_step.values,
                decay_step=part.decay_record.values,
                decays=part.branch_cost.transpose("branch_step", "decay_record").values,
                by_direction={
                    label: (-part[key].sum("branch_step").cumsum("direction") / fall)
                    .transpose("start", "direction")
                    .values
                    for key, label in splits.items()
                },
                shares={label: over_starts[key] for key, label in labels.items()},
            )
        )
    return {
        "valleys": plots.valleys(rows),
        "exponents": plots.exponents(dataset.exponent.values, tuned_costs(dataset).values),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
