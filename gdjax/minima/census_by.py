"""Censuses for several settings, such as weight decays, in one Dataset and one table.

census at each value of some axes -> counts, states, shares and barriers over these axes
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.base.arrays import Array, as_dataset, check_result, quantities
from gdjax.minima.end_states import EndState

if TYPE_CHECKING:
    import xarray as xr

DRAWS = 1000  # number of resampled sets of minima for the interval of the median barrier
LEAST = 4  # least number of minima for that interval
LEVEL = 0.95
UNSEEN = ("unseen_mass", "unseen_mass_low", "unseen_mass_high", "unseen_number")
OF_MINIMA = (
    *("count", "reached", "near", "cannot_hold", "share", "share_low", "share_high"),
    *("minimum_cost", "sharpness", "least_curvature"),
)
OF_PAIRS = ("matched_barrier", "matched_barrier_error", "barrier", "matched_distance", "distance")
NUMBERS = quantities(
    "",
    runs="number of runs",
    minima="number of minima",
    minima_reached="number of minima that runs reached",
    minima_near="number of minima that runs only came near",
    minima_cannot_hold="number of minima that no run can hold",
    manifolds="number of manifolds of minima",
    ends_reached="share of runs that reached a minimum or manifold",
    barrier_median="median barrier between minima, after matching where symmetries are known",
    barrier_low="lower end of the bootstrap interval of that median, over minima",
    barrier_high="upper end of that interval",
    unseen_mass="share of starts that lead to minima that were not found",
    unseen_mass_low="lower end of its confidence interval",
    unseen_mass_high="upper end of its confidence interval",
    unseen_number="estimated number of minima that were not found",
)
"""Numbers of a census for each setting."""


def by_setting(censuses: Mapping[tuple, "xr.Dataset"], names: Sequence[str]) -> "xr.Dataset":
    """Return censuses of several settings as one Dataset with an axis for each setting.

    Minima are in ascending order of the cost at each setting, and NaN where there are fewer.

    Args:
        censuses: Dataset of `count_minima` for each combination of values.
        names: names of the axes.
    """
    axes = {n: list(dict.fromkeys(key[k] for key in censuses)) for k, n in enumerate(names)}
    shape = tuple(map(len, axes.values()))
    most = max(census.sizes["minimum"] for census in censuses.values())
    pairs = max(census.sizes.get("compared", 0) for census in censuses.values())
    values: dict[str, Any] = {name: np.full(shape, np.nan) for name in NUMBERS}
    values |= {name: np.full((*shape, most), np.nan) for name in OF_MINIMA}
    values |= {name: np.full((*shape, pairs, pairs), np.nan) for name in OF_PAIRS}
    values["minimum_state"] = np.zeros((*shape, most), np.int8)
    declared = {name: q._replace(dims=tuple(names)) for name, q in NUMBERS.items()}
    declared |= {name: Array(name, (name,)) for name in names}
    for key, census in censuses.items():
        at = tuple(axes[n].index(v) for n, v in zip(names, key, strict=True))
        for name, number in _numbers(census).items():
            values[name][at] = number
        for name in (*OF_MINIMA, "minimum_state", *OF_PAIRS):
            if name in census:
                array = census[name]
                values[name][(*at, *(slice(n) for n in array.shape))] = array.values
                declared[name] = Array(
                    array.attrs["long_name"],
                    (*names, *map(str, array.dims)),
                    codes=EndState if name == "minimum_state" else None,
                )
    kept = {name: array for name, array in values.items() if name in declared}
    sentences = {" ".join(map(str, key)): c.attrs["advice"] for key, c in censuses.items()}
    advice = "; ".join(f"{key}: {text}" for key, text in sentences.items() if text)
    return as_dataset(declared, kept, axes).assign_attrs(result="census_by", advice=advice)


def _numbers(census):
    """Return the numbers of one census."""
    states = census["minimum_state"].values
    numbers = {"runs": census.sizes["run"], "minima": len(states)}
    numbers |= {
        f"minima_{s.name.lower()}": int(np.sum(states == s)) for s in EndState if s.value > 0
    }
    numbers["manifolds"] = census.sizes.get("manifold", 0)
    numbers["ends_reached"] = float(np.mean(census["state"].values == EndState.REACHED))
    numbers |= {name: float(census[name]) for name in UNSEEN if name in census}
    if "barrier" in census:
        matrix = census["matched_barrier"].values
        if np.isnan(matrix).all():
            matrix = census["barrier"].values
        numbers |= dict(
            zip(("barrier_median", "barrier_low", "barrier_high"), _median(matrix), strict=True)
        )
    return numbers


def _median(matrix):
    """Return the median over pairs, with a bootstrap interval over the minima of the pairs."""
    count = len(matrix)
    median = float(np.median(matrix[np.triu_indices(count, 1)]))
    if count < LEAST:
        return median, np.nan, np.nan
    rng, medians = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = rng.integers(count, size=count)
        pairs = matrix[np.ix_(drawn, drawn)][drawn[:, None] != drawn]
        medians.append(np.median(pairs) if len(pairs) else np.nan)
    low, high = np.nanquantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return median, float(low), float(high)


def census_table(census: "xr.Dataset") -> str:
    """Return the table of a census by settings, one row for each combination of values.

    Args:
        census: Dataset of `count_minima(..., by=...)`.

    Examples:
        >>> from gdjax.minima import count_minima
        >>> from gdjax.problems import from_function
        >>> from gdjax.sweeps import axes, sweep
        >>> grid = axes(learning_rate=[0.01, 0.02], seed=range(10))
        >>> walks = sweep(from_function("quartic"), grid, 400)
        >>> census = count_minima(from_function("quartic"), walks, by="learning_rate")
        >>> print("\\n".join(line[:60] for line in census_table(census).split("\\n")))
        learning_rate  minima  reached  near  cannot hold  manifolds
                 0.01       2        2     0            0          0
                 0.02       2        2     0            0          0
    """
    check_result("census_table: census", census, "census_by", "count_minima(..., by=...)")
    axes = census["minima"].dims
    rows = []
    for index in np.ndindex(*census["minima"].shape):
        at = dict(zip(axes, index, strict=True))
        one = {n: float(census[n][at]) for n in NUMBERS if n in census}
        row = {str(axis): f"{census[axis].values[i]}" for axis, i in at.items()}
        for label in ("minima", "minima_reached", "minima_near", "minima_cannot_hold", "manifolds"):
            name = label.removeprefix("minima_").replace("_", " ")
            row[name] = "-" if np.isnan(one[label]) else f"{one[label]:.0f}"
        row["ends reached"] = f"{one['ends_reached']:.0%}"
        sharpness = census["sharpness"][at].values
        sharpness = sharpness[np.isfinite(sharpness)]
        row["sharpness"] = _range(sharpness)
        row["barrier"] = f"{one['barrier_median']:.3g}"
        if np.isfinite(one["barrier_low"]):
            row["barrier"] += f" ({one['barrier_low']:.3g} to {one['barrier_high']:.3g})"
        row["unseen"] = f"{one['unseen_mass']:.0%} (to {one['unseen_mass_high']:.0%})"
        rows.append({name: "-" if "nan" in text else text for name, text in row.items()})
    columns = [[name, *(row[name] for row in rows)] for name in rows[0]]
    aligned = [[cell.rjust(max(map(len, column))) for cell in column] for column in columns]
    return "\n".join("  ".join(line) for line in zip(*aligned, strict=True))


def _range(values):
    if not len(values):
        return "-"
    return f"{values.min():.3g} to {values.max():.3g}" if len(values) > 1 else f"{values[0]:.3g}"
