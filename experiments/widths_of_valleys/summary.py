"""Summary of correlations between width, number of starts and accuracy of minima."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy import stats

from experiments.shared.statistics import partial_correlation
from gdjax.statistics import Interval

MIN_MINIMA = 5  # smallest number of minima in a set or in its narrow group
WIDTHS = {"volume": "volume_log_volume", "coefficient": "chains_coefficient"}
QUANTITIES = {"starts": "count", "accuracy": "test_accuracy", "cost": "minimum_cost"}
NAMES = WIDTHS | QUANTITIES
# Variables of each rank correlation, and the variable that is held fixed.
PAIRS = [
    *((a, b, None) for a in WIDTHS for b in QUANTITIES),
    *(("cost", b, None) for b in ("starts", "accuracy")),
    *((a, b, "cost") for a in WIDTHS for b in ("starts", "accuracy")),
]


def rank_correlation(
    x: Float[np.ndarray, "*batch n"], y: Float[np.ndarray, "*batch n"]
) -> Float[np.ndarray, "*batch"]:
    """Return Spearman's rank correlation along the last axis, NaN for constants."""
    x, y = (stats.rankdata(one, axis=-1) for one in (x, y))
    x, y = (one - one.mean(axis=-1, keepdims=True) for one in (x, y))
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return (x * y).sum(axis=-1) / np.where(scale > 0, scale, np.nan)


def partial_rank_correlation(
    x: Float[np.ndarray, "*batch n"],
    y: Float[np.ndarray, "*batch n"],
    z: Float[np.ndarray, "*batch n"],
) -> Float[np.ndarray, "*batch"]:
    """Return the partial rank correlation of x and y given z.

        r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))

    The result is NaN if a variable is constant, or if the ranks of x or y equal those of z or are
    their reverse.
    """
    return partial_correlation(
        rank_correlation(x, y), rank_correlation(x, z), rank_correlation(y, z)
    )


def expanded_tail(count: int) -> float:
    """Return the bootstrap tail probability that replaces 2.5 % for `count` sets."""
    return float(stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.isf(0.025, count - 1)))


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, "*batch"]],
    sets: Sequence[Float[np.ndarray, "variables n"]],
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Return the mean of a statistic over sets, with a two-level bootstrap interval.

        tail = Phi(-sqrt(S / (S - 1)) t_0.025),   S sets, t with S - 1 degrees of freedom

    Each resample draws S sets, and from each drawn set as many members as it has, both with
    replacement. The interval excludes this tail of the resampled means on both sides (Hesterberg's
    expanded percentile interval; with tails of 2.5 %, intervals over few sets are too narrow).
    Statistics that are NaN are excluded.

    Args:
        statistic: function of the variables of a set, which are arrays with the members in the last
            axis.
        sets: variables of each set.
        resamples: number of resamples.
        rng: random generator of the resamples.
    """
    resampled = rng.integers(len(sets), size=(resamples, len(sets)))
    values = np.empty(resampled.shape)
    for index, variables in enumerate(sets):
        drawn = resampled == index
        n = variables.shape[1]
        members = rng.integers(n, size=(drawn.sum(), n))
        values[drawn] = statistic(*variables[:, members])
    defined = np.isfinite(values).any(axis=1)
    tail = expanded_tail(len(sets))
    low, high = np.quantile(np.nanmean(values[defined], axis=1), [tail, 1 - tail])
    value = np.nanmean([statistic(*variables) for variables in sets])
    return Interval(float(value), float(low), float(high), 0.95, len(sets))


def _sets(dataset: xr.Dataset, names: Sequence[str]) -> list[np.ndarray]:
    """Return the variables of each set, for minima with a learning coefficient."""
    measured = np.isfinite(dataset[WIDTHS["coefficient"]].values)
    columns = np.array([dataset[NAMES[name]].values[measured] for name in names], float)
    index = dataset["set"].values[measured]
    return [columns[:, index == one] for one in np.unique(index)]


def correlations(dataset: xr.Dataset) -> dict[str, tuple[Interval, np.ndarray]]:
    """Return mean rank correlations with intervals, and the correlations in each set.

    The pairs of variables are those in `PAIRS`; if the third entry is not None, the correlation is
    partial, given this variable.
    """
    rng = np.random.default_rng(0)
    estimates = {}
    for a, b, fixed in PAIRS:
        names = [a, b] if fixed is None else [a, b, fixed]
        statistic = rank_correlation if fixed is None else partial_rank_correlation
        sets = _sets(dataset, names)
        estimates[f"{a}_and_{b}" + ("" if fixed is None else f"_given_{fixed}")] = (
            bootstrap(statistic, sets, dataset.attrs["resamples"], rng),
            np.array([statistic(*variables) for variables in sets]),
        )
    return estimates


def narrow_groups(sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the members of each set above the largest gap in its first variable.

    Sets with fewer than `MIN_MINIMA` such members are excluded.
    """
    narrow = []
    for variables in sets:
        ordered = np.sort(variables[0])
        gap = np.argmax(np.diff(ordered))
        narrow.append(variables[:, variables[0] > ordered[gap]])
    return [one for one in narrow if one.shape[1] >= MIN_MINIMA]


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts, widths, and rank correlations."""
    labels = sorted({label for one in dataset.attrs["kinds"] for label in one})
    summary: dict = {
        f"runs_{label.replace(' ', '_')}": [one.get(label, 0) for one in dataset.attrs["kinds"]]
        for label in labels
    }
    _, minima = np.unique(dataset["set"].values, return_counts=True)
    summary |= {
        "parameters": dataset.attrs["parameters"],
        "sets": len(minima),
        "minima": dataset.sizes["minimum"],
        "minima_by_set": minima.tolist(),
        "minima_found_twice": int((dataset["count"] > 1).sum()),
        "coefficients_refused": int((dataset.chains_status != 0).sum()),
        "volumes_lower_bounds": int(dataset.volume_lower_bound.sum()),
        "chains_rhat_most": float(
            np.maximum(dataset.chains_rhat, dataset.chains_distance_rhat).max()
        ),
        "chains_effective_least": float(dataset.chains_effective_sample_size.min()),
        "volume_effective_least": float(dataset.volume_effective_directions.min()),
        "volume_standard_error_most": float(dataset.volume_standard_error.max()),
        "coefficient_standard_error_most": float(np.nanmax(dataset.chains_standard_error)),
    }
    for name, variable in NAMES.items():
        values = dataset[variable].values
        summary |= {
            f"{name}_least": float(np.nanmin(values)),
            f"{name}_median": float(np.nanmedian(values)),
            f"{name}_most": float(np.nanmax(values)),
        }
    for name, (mean, each) in correlations(dataset).items():
        summary[name] = mean[:3]
        summary[f"{name}_by_set"] = each.tolist()
    # The correlation in a union of two groups may differ from that within each group.
    narrow = [
        one[1:] for one in narrow_groups(_sets(dataset, ["coefficient", "volume", "accuracy"]))
    ]
    if len(narrow) > 1:
        rng = np.random.default_rng(0)
        mean = bootstrap(rank_correlation, narrow, dataset.attrs["resamples"], rng)
        summary |= {
            "narrow_sets": len(narrow),
            "narrow_minima": sum(one.shape[1] for one in narrow),
            "narrow_volume_and_accuracy": mean[:3],
            "narrow_volume_and_accuracy_by_set": [float(rank_correlation(*one)) for one in narrow],
        }
    return summary
