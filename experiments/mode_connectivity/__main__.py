"""How high are the barriers between two networks trained from different starts?

    barrier = max over t of C(w(t)) - ((1 - t) C(w(0)) + t C(w(1)))

    python -m experiments.mode_connectivity           (about 3 min)

Expected: the barrier on the straight line is 0.65 to 0.70 at every width, not far below the cost of
the best constant prediction (0.9). Matching lowers it by three quarters at width 16 and by 99 % at
width 256 (published for 784-512-512-512-10: 0.742 before, 0.088 after). The barrier on the curve is
almost zero: 0.02 at width 16, 0.0005 at width 64 and zero at width 256.
"""

import xarray as xr

from experiments.shared import command
from gdjax.plots.barriers import barrier_matrix

from .config import Config
from .figures import barrier_distributions, profiles
from .model import paths_of_width
from .summary import barriers_of, kinds_of, medians, numbers


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
    command.main(Config, run, plot, numbers)
