"""What happens if the learning rate exceeds the stability limit at the start?

    f = v^T s(U x) / sqrt(m),   C = |f - y|^2 / 2n;   for s(z) = z, one x of length 1 and y = 0:
    f <- f (1 - eta k + eta^2 f^2 / m),   k <- k + eta f^2 (eta k - 4) / m,
    k = (|u|^2 + |v|^2) / m

    python -m experiments.catapult           (about a minute on two cores)

Expected: the linear network follows the recursion within 1e-9 in float64; the largest rate at which
descents of linear networks end below their initial cost has a median over starts within 10 % of
4 / k, and that of ReLU networks is larger (published: about 12 / k, for deeper networks and
images); the period doubles at eta = 1 and at sqrt(5) - 1. This is refuted by a confidence interval
for the limit of linear networks that lies outside 3.6 to 4.4.
"""

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.statistics import median

from . import figures
from .model import Config, difference_from_two_numbers, flights, single_weights

DOUBLINGS = {"first_doubling": 1.0, "second_doubling": np.sqrt(5) - 1}
# share of the initial curvature below which the neurons of a run count as inactive
INACTIVE_SHARE = 1e-3


def ended_below_start(dataset: xr.Dataset) -> xr.DataArray:
    """Return whether each run ends below its initial cost with active neurons."""
    return (dataset["last"] < 1) & (dataset.flatness > INACTIVE_SHARE)


def edges(dataset: xr.Dataset) -> xr.DataArray:
    """Return the limiting rate for each start, [examples, activation, width, seed].

    The limit is the largest `share` up to which all runs from this start satisfy
    `ended_below_start`, or 0 if there is none.
    """
    lands = ended_below_start(dataset).transpose(..., "share")
    leading = np.cumprod(lands.values, axis=-1).sum(axis=-1)
    share = np.r_[0.0, dataset.share.values]
    return xr.DataArray(share[leading], lands.isel(share=0, drop=True).coords)


def onset(rates, swing, low=0.1, high=0.3) -> float:
    """Return the rate at which an oscillation starts: the zero of a fit to `swing`^2.

    The fit is a straight line, fitted to the rates between which `swing` grows from `low` to
    `high`.
    """
    first = int(np.argmax(swing > low))
    indices = np.arange(first, first + int(np.argmax(swing[first:] > high)))
    slope, at_zero = np.polyfit(rates[indices], swing[indices] ** 2, 1)
    return float(-at_zero / slope)


def numbers(dataset: xr.Dataset) -> dict:
    """Return limits with intervals, period doublings, and the share of chaotic rates."""
    lands, edge, share = ended_below_start(dataset), edges(dataset), dataset.share.values
    summary: dict = {"two_numbers_apart": dataset.attrs["apart"]}
    for index in np.ndindex(*edge.shape[:-1]):
        at = {dim: edge[index][dim].item() for dim in edge.dims[:-1]}
        name = f"{at['activation']}_{at['width']}_examples_{at['examples']}"
        landed = lands.sel(at)
        summary |= {
            f"edge_{name}": median(edge[index].values)[:3],
            f"half_land_at_{name}": share[landed.mean("seed").values >= 0.5].max(),
            f"some_land_at_{name}": share[landed.any("seed").values].max(),
        }
    linear = dataset.isel(examples=0).sel(activation="linear")
    for rate in (2.5, 3.5):
        product = rate * linear.flatness.sel(share=rate).values
        summary[f"linear_from_{rate}_lands_at"] = [product.min(), product.max()]
    dead = (dataset["last"] < 1) & ~lands
    dead = dead.sel(activation="ReLU", share=slice(6, None)).mean(["share", "width", "seed"])
    rates, swing, exponent = (dataset[name].values for name in ("rate", "swing", "exponent"))
    first_chaos = float(rates[np.argmax(exponent > 0.01)])
    return summary | {
        "dead_ReLU_from_6_on": dead.values.tolist(),
        "runs_that_flew_and_landed": int(((dataset.highest > 1.05) & lands).sum()),
        "runs": lands.size,
        "rates": len(rates),
        "first_doubling": onset(rates, swing[:, 0]),
        "second_doubling": onset(rates, swing[:, 1], 0.03, 0.1),
        "first_chaos": first_chaos,
        "chaotic_share_beyond_it": float(np.mean(exponent[rates >= first_chaos] > 0)),
    }


def run(config: Config) -> xr.Dataset:
    """Return the runs of networks and of single weights.

    The attribute `apart` is the largest deviation of the cost of the linear network from the
    recursion for f and k, relative to the highest predicted cost of the same descent.
    """
    flown, single = flights(config), single_weights(config)
    return xr.merge([flown, single], combine_attrs="no_conflicts").assign_attrs(
        apart=difference_from_two_numbers(config, config.widths[0]), **single.attrs
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw descents, limiting rates, and values of the single weight at each rate."""
    lands = ended_below_start(dataset).mean("seed").isel(width=-1)
    doublings = {name.replace("_", " "): rate for name, rate in DOUBLINGS.items()}
    return {
        "landing": figures.settled_shares(dataset, lands, edges(dataset).isel(width=-1)),
        "chaos": figures.chaos(dataset, doublings),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
