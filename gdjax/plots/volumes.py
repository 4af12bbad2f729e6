"""Radii of basins and local learning coefficients."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gdjax.plots.axes import log_scale, styled_axes
from gdjax.plots.style import BLACK, BLUE, GREY, VERMILLION


def radii(volume: Any, *, title: str = "") -> Axes:
    """Draw a histogram of distances from a minimum to the boundary of its basin."""
    radius, open_directions = np.asarray(volume.radii), int(volume.open_directions)
    finite = radius[np.isfinite(radius) & (radius > 0)]
    bound = " at least" if volume.lower_bound else ""
    interval = f"95 %: {float(volume.low):.4g} to {float(volume.high):.4g}"
    with styled_axes(None, (8, 4.5)) as axes:
        if finite.size:
            low, high = finite.min(), max(finite.max(), finite.min() * (1 + 1e-6))
            axes.hist(finite, np.geomspace(low, high, 31).tolist(), color=BLUE)
            log_scale(axes, finite, ratio=10, side="x")
        unbounded = f"; no boundary in {open_directions} directions" if open_directions else ""
        axes.set(xlabel=f"distance to the boundary{unbounded}", ylabel="number of directions")
        axes.set_title(title or f"Log volume{bound} {float(volume.log_volume):.4g} ({interval})")
    return axes


def chain_coefficients(result: Any, *, title: str = "") -> Axes:
    """Draw the learning coefficient of each Markov chain and of all chains."""
    coefficient, error = float(result.coefficient), float(result.standard_error)
    chains = np.asarray(result.chain_coefficients)
    with styled_axes(None, (8, 4.5)) as axes:
        number = np.arange(1, len(chains) + 1)
        if np.isfinite(coefficient):
            band = coefficient - error, coefficient + error
            axes.axhspan(*band, color=VERMILLION, alpha=0.2, linewidth=0)
            label = f"all chains: {coefficient:.3g} ± {error:.2g}"
            axes.axhline(coefficient, color=VERMILLION, label=label)
        axes.plot(number, chains, "o", color=BLUE, label="each chain")
        axes.set_xticks(number)
        axes.set(xlabel="chain", ylabel="learning coefficient")
        axes.legend()
        axes.set_title(title or f"Chains: {result.status_name}")
    return axes


def learning_coefficient(result: Any, *, title: str = "") -> Axes:
    """Draw learning coefficients against inverse temperature, and the extrapolation."""
    temperatures = np.asarray(result.inverse_temperatures)
    low, high, single = float(result.low), float(result.high), result.at_temperatures
    with styled_axes(None, (8, 4.5)) as axes:
        if np.isfinite(low):
            label = f"extrapolated: {low:.3g} to {high:.3g}"
            axes.axhspan(low, high, color=VERMILLION, alpha=0.2, linewidth=0, label=label)
        warning = ""
        if single is not None:
            values, errors = np.asarray(single.coefficient), np.asarray(single.standard_error)
            axes.errorbar(
                temperatures, values, errors, fmt="o", color=BLUE, ecolor=BLACK, capsize=3,
                label="at this temperature",
            )  # fmt: skip
            last = np.argsort(temperatures)[-2:]
            if values[last[-1]] - values[last[0]] > 2 * np.linalg.norm(errors[last]):
                warning = ", uncertain: points still rise"
        axes.set_xscale("log")
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set(xlabel="inverse temperature", ylabel="learning coefficient")
        axes.legend()
        axes.set_title(title or f"Local learning coefficient{warning}")
    return axes
