"""Radii of basins and local learning coefficients."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from gdjax.plots.style import BLACK, BLUE, GREY, VERMILLION, label_log_axis, styled_axes


def radii(
    radius: Float[np.ndarray, " directions"],
    *,
    open_directions: int = 0,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of distances from a minimum to the boundary of its basin.

    Args:
        radius: distance in each random direction; not finite in open directions.
        open_directions: number of directions in which no boundary was found.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    finite = radius[np.isfinite(radius) & (radius > 0)]
    with styled_axes(ax, (8, 4.5)) as axes:
        if finite.size:
            low, high = finite.min(), max(finite.max(), finite.min() * (1 + 1e-6))
            axes.hist(finite, np.geomspace(low, high, 31).tolist(), color=BLUE)
            if high > 10 * low:
                axes.set_xscale("log")
                label_log_axis(axes.xaxis)
        unbounded = f"; no boundary in {open_directions} directions" if open_directions else ""
        axes.set_xlabel(f"distance to the boundary{unbounded}")
        axes.set_ylabel("number of directions")
        axes.set_title(title)
    return axes


def chain_coefficients(
    coefficient: float,
    standard_error: float,
    chains: Float[np.ndarray, " chains"],
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw the learning coefficient of each Markov chain and of all chains.

    Args:
        coefficient: learning coefficient over all chains; NaN if they disagree.
        standard_error: standard error of this coefficient.
        chains: learning coefficient of each chain.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 4.5)) as axes:
        number = np.arange(1, len(chains) + 1)
        if np.isfinite(coefficient):
            low, high = coefficient - standard_error, coefficient + standard_error
            axes.axhspan(low, high, color=VERMILLION, alpha=0.2, linewidth=0)
            label = f"all chains: {coefficient:.3g} ± {standard_error:.2g}"
            axes.axhline(coefficient, color=VERMILLION, label=label)
        axes.plot(number, chains, "o", color=BLUE, label="each chain")
        axes.set_xticks(number)
        axes.set_xlabel("chain")
        axes.set_ylabel("learning coefficient")
        axes.legend()
        axes.set_title(title)
    return axes


def learning_coefficient(
    inverse_temperature: Float[np.ndarray, " temperatures"],
    coefficient: Float[np.ndarray, " temperatures"],
    standard_error: Float[np.ndarray, " temperatures"],
    *,
    llc_low: float,
    llc_high: float,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw learning coefficients against inverse temperature, and the extrapolation.

    Args:
        inverse_temperature: inverse temperatures.
        coefficient: learning coefficient at each temperature; NaN if the chains disagree.
        standard_error: standard error of each coefficient.
        llc_low: lower end of the interval of the coefficient at zero temperature; NaN if unknown.
        llc_high: upper end of this interval.
        title: axes title.
        ax: axes to draw into; None creates a new figure.
    """
    with styled_axes(ax, (8, 4.5)) as axes:
        if np.isfinite(llc_low):
            label = f"extrapolated: {llc_low:.3g} to {llc_high:.3g}"
            axes.axhspan(llc_low, llc_high, color=VERMILLION, alpha=0.2, linewidth=0, label=label)
        axes.errorbar(
            inverse_temperature, coefficient, standard_error, fmt="o", color=BLUE, ecolor=BLACK,
            capsize=3, label="at this temperature",
        )  # fmt: skip
        axes.set_xscale("log")
        axes.axhline(0, color=GREY, linewidth=1)
        axes.set_xlabel("inverse temperature")
        axes.set_ylabel("learning coefficient")
        axes.legend()
        axes.set_title(title)
    return axes
