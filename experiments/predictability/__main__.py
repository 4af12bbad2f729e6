"""When is a run decided, and how far ahead can its end be predicted?

    lambda = 1/T log(|v_T| / |v_0|),   P(a twin at distance eps ends elsewhere) = c eps^alpha
    decided step: from this step on, none of at least 59 twins ends elsewhere

    python -m experiments.predictability           (about 2 min of processor time)

Hypotheses, written before the run (a pilot with other starting points chose sizes and the onset):
1. On (1 - x y)^2 / 2, the median exponent of the second half of the steps is that of the attractor:
   0 at rates below 1, and the larger of log|3 - 2 rate| / 2 and log|9 - 2 (1 + rate)^2| / 2 between
   1 and sqrt(5) - 1. Refuted if one of them differs by more than 0.01.
2. A positive exponent does not imply an undecided end: on the same cost, there is a rate at which
   the median exponent is positive and each branched run is decided. Refuted if there is none.
3. Training is fastest near the onset of chaos (arXiv 2506.08523, with finite perturbations). For
   the digit network, the onset is the smallest rate at which a tenth of the twins at the smallest
   distance end elsewhere, by the smallest threshold. Refuted if the rate with the least median cost
   differs from it by more than a factor of 2, or if there is no onset.
4. The effect of a change diminishes rapidly with its step (arXiv 2506.13234). For the digit
   network, over all rates and by each threshold, fewer twins that leave at the last of the steps
   end elsewhere than of those that leave at the first. Refuted if as many or more do.
5. Basins are riddled, with an uncertainty exponent near 0 (arXiv 2510.05606). Refuted for a case
   and a rate if the interval of the exponent lies above 0.25.
"""

import jax
import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.errors import InputError
from gdjax.plots.style import CYCLE, GREY, Figure, style
from gdjax.sensitivity import decided_step, uncertainty_exponent
from gdjax.statistics import median

from .model import Config, cases, runs_of

TITLES = {"factors": "(1 - xy)²/2", "xor": "XOR, 2-2-1", "digits": "digits, 784-16-16-10"}


def run(config: Config) -> xr.DataTree:
    """Return a tree with the runs and twins of each case with rates; digits are in float32."""
    parts = {}
    for name in TITLES:
        with jax.enable_x64(name != "digits"):
            case = cases(config)[name]
            parts |= {name: runs_of(config, case)} if case.rates else {}
    return xr.DataTree.from_dict(parts)


def exponent_of(part: xr.Dataset, name: str = "exponent") -> list[float]:
    """Return the median exponent, with its interval, of runs at one rate that did not diverge."""
    return list(median(part[name].values[np.isfinite(part.cost.values)])[:3])


def elsewhere(separation: xr.DataArray, part: xr.Dataset, threshold: float) -> xr.DataArray:
    """Return whether twins end elsewhere; distances are relative to those of independent starts."""
    unit = part.independent.median("pair") if part.attrs["relative"] else 1.0
    return separation > threshold * unit


def known_exponent(rate: float) -> float | None:
    """Return the exponent of descent on (1 - x y)^2 / 2, where it is known."""
    along, across = abs(9 - 2 * (1 + rate) ** 2), abs(3 - 2 * rate)
    growth = max(along, across) if rate > 1 else 1.0
    return float(np.log(growth) / 2) if rate < np.sqrt(5) - 1 else None


def uncertainty_of(twins: xr.DataArray) -> list[float] | None:
    """Return the uncertainty exponent with its interval, if enough twins ended elsewhere."""
    twins = twins.isel(distance=slice(1, None))  # without distance 0
    try:
        return list(uncertainty_exponent(twins.values, twins.distance.values).exponent[:3])
    except InputError:
        return None


def summary_of(part: xr.Dataset) -> dict:
    """Return exponents, shares and decided steps at one rate; shares for each threshold."""
    limits = part.attrs["thresholds"]
    at_start = [elsewhere(part.at_start, part, limit) for limit in limits]
    later = [elsewhere(part.late, part, limit) for limit in limits]
    steps = part.late_step.values
    return {
        "exponent": exponent_of(part),
        "whole_exponent": exponent_of(part, "whole_exponent"),
        "cost": float(np.median(part.cost)),
        "trunks_diverged": int(np.isinf(part.cost[: part.sizes["trunk"]]).sum()),
        "elsewhere": [one.mean(("seed", "twin")).values.tolist() for one in at_start],
        "uncertainty": [uncertainty_of(one) for one in at_start],
        "elsewhere_later": [one.sum(("trunk", "late_twin")).values.tolist() for one in later],
        "decided": [[decided_step(twins, steps) for twins in one.values] for one in later],
    }


def numbers(tree: xr.DataTree) -> dict:
    """Return the summary of each case and rate, and what the hypotheses are about."""
    summary: dict = {}
    for name in sorted(tree.children, key=[*TITLES].index):
        part = tree[name].to_dataset()
        rates = part.learning_rate.values.tolist()
        by_rate = [summary_of(part.isel(learning_rate=r)) for r in range(len(rates))]
        summary |= {f"{name}_{key}": [one[key] for one in by_rate] for key in by_rate[0]}
        summary |= {f"{name}_{key}": part.attrs[key] for key in ("steps", "thresholds")}
        summary |= {f"{name}_rates": rates, f"{name}_late_step": part.late_step.values}
        summary[f"{name}_late_totals"] = np.sum([one["elsewhere_later"] for one in by_rate], axis=0)
        nearest = [one["elsewhere"][0][1] for one in by_rate]  # entry 0 is distance 0
        chaotic = [rate for rate, share in zip(rates, nearest, strict=True) if share >= 0.1]
        summary[f"{name}_onset"] = min(chaotic, default=None)
        summary[f"{name}_best_rate"] = rates[int(np.argmin([one["cost"] for one in by_rate]))]
    known = [known_exponent(rate) for rate in summary["factors_rates"]]
    return summary | {"factors_known_exponent": known}


def plot(tree: xr.DataTree) -> dict:
    """Draw exponents, twins at the start and late twins against the rate, for each case."""
    with style():
        figure = Figure(figsize=(13.0, 9.0))
        names = sorted(tree.children, key=[*TITLES].index)  # a store sorts them by name
        rows = figure.subplots(3, len(names), squeeze=False, sharex="col")
        for (top, center, bottom), name in zip(rows.T, names, strict=True):
            part = tree[name].to_dataset()
            rates, limits = part.learning_rate.values, part.attrs["thresholds"]
            exponents = [exponent_of(part.isel(learning_rate=r)) for r in range(len(rates))]
            value, low, high = np.array(exponents).T
            top.axhline(0, color=GREY, linewidth=1)
            top.errorbar(rates, value, [value - low, high - value], fmt="o-", color=CYCLE[0])
            if name == "factors":
                known = np.array([known_exponent(rate) for rate in rates], float)
                top.plot(rates, known, "x", color=CYCLE[3], label="exact", markersize=12, zorder=5)
                top.legend()
            else:
                top.set_xscale("log", base=2)
            top.set_title(TITLES[name])
            middle = limits[len(limits) // 2]
            at_start = elsewhere(part.at_start, part, middle).mean(("seed", "twin"))
            late = elsewhere(part.late, part, middle).mean(("trunk", "late_twin"))
            near = at_start.isel(distance=slice(1, None))
            for axes, lines, dim in ((center, near, "distance"), (bottom, late, "late_step")):
                for k, label in enumerate(lines[dim].values):
                    line = lines.isel({dim: k})
                    axes.plot(rates, line, "o-", color=CYCLE[k], label=f"{label:g}")
                heading = dim.replace("late_", "left at ")
                axes.legend(title=heading, fontsize="small", title_fontsize="small")
                axes.set_ylim(-0.03, 1.03)
            bottom.set_xlabel("learning rate")
        for axes, twins in zip(rows[1:, 0], ("twins at the start", "late twins"), strict=True):
            axes.set_ylabel(f"share of {twins}\nthat end elsewhere")
        rows[0, 0].set_ylabel("Lyapunov exponent,\nsecond half of the steps")
    return {"twins": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
