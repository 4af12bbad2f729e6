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
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import gdjax as gd
from experiments.shared import command
from experiments.shared.comparisons import p_values
from gdjax.base.statistics import holm, mean
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREY, ORANGE

from .model import Config, valleys

SPLITS = {
    "second_order": "second order",
    "line": "line, vectors at branch point",
    "end_line": "line, vectors after decay",
}

# Shares if a decay lowers the cost in the steep directions only.
EXPECTED = {"steep_decay": 1.0, "rest_decay": 0.0, "onto": 1.0, "off": 0.0}


def run(config: Config) -> xr.Dataset:
    """Return results of decays on all data sets."""
    kinds: tuple[dict[str, Any], ...] = ({}, {"activation": "tanh", "loss": "cross_entropy"})
    widths = (config.width, config.width)
    problems = [
        gd.problems.digits(name, widths=widths, samples=config.samples, **kind)
        for name, kind in zip(config.data, kinds, strict=False)
    ]
    parts = [valleys(config, *pair) for pair in zip(problems, config.rates, strict=False)]
    return xr.concat(parts, "data").assign_coords(data=list(config.data[: len(parts)]))


def shares(part: xr.Dataset) -> xr.Dataset:
    """Return the shares of the fall and of the gain of a decay, for each start.

    The fall is the cost at the branch point minus that after the decay. The gain is the cost of the
    constant rate minus that of the decay, after the same number of steps. Numerators and
    denominators are sums over the branch steps. Shares that are not finite, as after divergence,
    are NaN.
    """

    def over(numerator, denominator):
        ratio = numerator.sum("branch_step") / denominator.sum("branch_step")
        return ratio.where(np.isfinite(ratio))

    fall, swept_fall = part.begin - part.end, part.begin - part.swept_decay
    gain, swept_gain = part.continued - part.end, part.swept_constant - part.swept_decay

    def of_top(k):
        in_top = part[[*SPLITS]].isel(direction=slice(k)).sum("direction")
        parted = part.parted.sel(directions=k).to_dataset("part")
        reached = part.swept_constant - parted[["steep_decay", "rest_decay"]]
        projected = over(part.begin - parted[["onto", "off"]], swept_fall)
        return xr.Dataset({**over(-in_top, fall), **projected, **over(reached, swept_gain)})

    of_tops = xr.concat([of_top(k) for k in part.directions.values], part.directions)
    return of_tops.assign(
        rest=over(-part.rest, fall),
        remainder=over(-part.remainder, fall),
        averaged=over(part.continued - part.averaged, gain),
    )


def with_intervals(of_starts: xr.Dataset) -> dict:
    """Return means of finite values over starts with intervals; None for fewer than two.

    Those for a number of directions are below this number.
    """

    def intervals(part):
        finite = {name: values[np.isfinite(values)].values for name, values in part.items()}
        return {
            name: list(mean(values)[:3]) if len(values) > 1 else None
            for name, values in finite.items()
        }

    whole = of_starts.drop_dims("directions")
    of_tops = of_starts.drop_vars(whole.data_vars)
    counts = of_tops.directions.values
    return {
        **intervals(whole),
        "directions": {str(k): intervals(of_tops.sel(directions=k)) for k in counts},
    }


def numbers(dataset: xr.Dataset) -> dict:
    """Return falls, gains and shares with intervals."""
    names = dataset["data"].values
    of_data = {name: numbers_of_valley(dataset.sel(data=name)) for name in names}
    add_p_values(of_data, str(dataset.directions.values[1]), dataset.sizes["start"])
    return {"data": of_data}


def add_p_values(of_data: Mapping[str, dict], k: str, starts: int) -> None:
    """Add p-values of the shares in the table of all data sets, corrected by Holm's method.

    The null hypotheses are the shares of a valley in which only the steep directions matter.
    """
    tests: list[tuple[dict, str, float]] = []
    for part in of_data.values():
        of_k, steps = part["directions"][k], part["step"].values()
        tests += [(part, name, 0) for name in ("averaged", "remainder")]
        tests += [(of_k, name, 1) for name in SPLITS]
        tests += [
            (table, *pair) for table in part["directions"].values() for pair in EXPECTED.items()
        ]
        decays = [pair for pair in EXPECTED.items() if pair[0].endswith("decay")]
        tests += [(step["directions"][k], *pair) for step in steps for pair in decays]
    tests = [test for test in tests if test[0][test[1]]]
    triples, null = [table[name] for table, name, _ in tests], [test[2] for test in tests]
    corrected = holm(p_values(triples, null=null, freedom=starts - 1))
    for (table, name, _), p in zip(tests, corrected, strict=True):
        table[f"{name}_p"] = p


def numbers_of_valley(part: xr.Dataset) -> dict:
    """Return costs, falls, gains and shares on one data set."""
    finite = np.isfinite(part.parted).all(["part", "directions"]) & np.isfinite(part.end)
    of_branches = {"fall": part.begin - part.end, "gain": part.continued - part.end}
    of_starts = xr.Dataset(of_branches | {"overlap": part.overlap}).mean("branch_step")
    steps = part.branch_step.values
    return {
        "diverged": int((~finite).sum()),
        "line_error": float(abs(part.line.sum("direction") + part.line_rest - part.total).max()),
        "step": {str(step): with_intervals(shares(part.sel(branch_step=[step]))) for step in steps},
        **with_intervals(of_starts.assign(shares(part))),
    }


def decays_and_shares(dataset: xr.Dataset) -> Figure:
    """Draw one row per data set: decays of one start, and shares for all starts."""
    names, k = dataset["data"].values, int(dataset.directions[len(dataset.directions) // 2])
    labels = {
        "steep_decay": f"decay only in top {k},\nconstant rate in the rest",
        "rest_decay": f"decay only in the rest,\nconstant rate in top {k}",
        "onto": f"gradient projected\nonto top {k}",
        "off": f"gradient projected\noff top {k}",
        "averaged": "averaged weights,\nconstant rate",
    }
    figure = Figure(figsize=(15, 4.4 * len(names)))
    panels = figure.subplots(len(names), 3, squeeze=False, width_ratios=(4, 3, 4))
    for (left, middle, right), name in zip(panels, names, strict=True):
        part = dataset.sel(data=name)
        left.plot(part.record, part.trunk_cost, color=GREY, label="constant rate")
        for index, first in enumerate(part.branch_step.values):
            label = "decay to 0" if index == 0 else None
            costs = part.branch_cost.isel(branch_step=index)
            left.plot(first + part.decay_record, costs, color=BLUE, label=label)
        left.set(yscale="log", xlabel="step", ylabel="cost", title=f"{name}: one start")
        left.legend()
        fall = (part.begin - part.end).sum("branch_step")
        for (split, label), color in zip(SPLITS.items(), CYCLE, strict=False):
            share = -part[split].sum("branch_step").cumsum("direction") / fall
            count = np.arange(1, share.sizes["direction"] + 1)
            middle.plot(count, share.mean("start"), color=color, label=label)
            ends = share.min("start"), share.max("start")
            middle.fill_between(count, *ends, color=color, alpha=0.15, linewidth=0)
        middle.axhline(1, color=BLACK, linestyle=":", linewidth=1)
        middle.set(xlabel="number k of directions", ylabel="share of the fall")
        middle.set_title("Split of the fall")
        middle.legend(fontsize="small", loc="upper left", bbox_to_anchor=(0, 0.97))
        of_part = shares(part).sel(directions=k)
        for height, values in enumerate(of_part[key] for key in labels):
            right.plot(values, np.full(len(values), height), "o", color=ORANGE, alpha=0.5)
            right.plot(values.mean(), height, "|", color=BLACK, markersize=14)
        right.axvline(0, color=GREY, linestyle=":")
        right.axvline(1, color=BLACK, linestyle=":", linewidth=1)
        right.xaxis.set_major_locator(MaxNLocator(4))
        right.set_yticks(range(len(labels)), list(labels.values()))
        right.invert_yaxis()
        right.set(xlabel="share of the full decay", title="Interventions")
    return figure


def plot(dataset: xr.Dataset) -> Mapping:
    """Draw decays and shares for each data set."""
    return {"valleys": decays_and_shares(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
