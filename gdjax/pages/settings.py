"""Settings of a sweep with their seeds collapsed: verdicts, and what explains their ranks.

    verdict   "not shown to be worse than the best", by the tests of `gd.compare`
    V_u = mean over settings of f_u^2,   f_u = E[rank | axes u] - sum of f_v over v within u

The shares V_u / V, of every axis and pair, are those of the chosen grid: another range of an axis
gives other shares. Each seed has shares of its own, of which median and interval are given.

>>> rank = np.array([[0.0, 1.0], [2.0, 3.0]])
>>> shares(rank[..., None], 2)
{(0,): array([0.8]), (1,): array([0.2]), (0, 1): array([0.])}
"""

import itertools
import math

import numpy as np
from jaxtyping import Float
from scipy import stats

from gdjax.base import statistics
from gdjax.base.errors import GdjaxError
from gdjax.base.signed_ranks import least_pairs
from gdjax.search.compare import best_and_tied
from gdjax.search.cross_fitting import adjusted_p_values
from gdjax.sweeps.dataset import check_equal_costs

MAX_SETTINGS = 400  # maximum number of settings with verdicts, whose time grows as its square


def settings_by_seeds(metrics, outcome, diverged, seeds):
    """Return the last record of each metric as [*settings, seeds], and whether a run diverged.

    Of several axes of seeds the longest one counts, and a value is the median over the others, as
    in `gd.compare`. A diverged run has the worst value.
    """
    is_diverged = np.isin(outcome, diverged)
    arrays = [(m["values"][..., -1].astype(float), m["share"]) for m in metrics]
    arrays = [np.where(is_diverged, -np.inf if share else np.inf, v) for v, share in arrays]
    return [_last_axis(values, seeds) for values in (*arrays, is_diverged.astype(float))]


def _last_axis(values, seeds):
    longest = max(seeds, key=lambda i: values.shape[i], default=None)
    others = tuple(i - values.ndim for i in seeds if i != longest)
    if longest is None:
        return values[..., None]
    values = np.moveaxis(
        values, [*(i for i in seeds if i != longest), longest], range(-len(seeds), 0)
    )
    if others:
        values = np.median(values, axis=tuple(range(-len(seeds), -1)))
    return values


def verdicts(metrics, finals, runs):
    """Return for each metric the settings that are not shown to be worse than the best one."""
    if not finals:
        return []
    count, num_seeds = math.prod(finals[0].shape[:-1]), finals[0].shape[-1]
    if note := _obstacle(count, num_seeds):
        return [{"note": note} for _ in metrics]
    return [
        _verdict(values.reshape(count, num_seeds), metric, runs)
        for metric, values in zip(metrics, finals[:-1], strict=True)
    ]


def _obstacle(count, num_seeds):
    if count < 2:
        return "There is one setting, so none is compared."
    if count > MAX_SETTINGS:
        return f"Verdicts are given for up to {MAX_SETTINGS} settings, and these are {count:,}."
    least = least_pairs((1 - statistics.LEVEL) / (count * (count - 1)))
    if num_seeds >= least:
        return None
    return f"A verdict on {count} settings needs at least {least} seeds, and each has {num_seeds}."


def _verdict(values, metric, runs):
    if np.isnan(values).any():
        return {"note": "Runs without a last record are not compared."}
    try:
        check_equal_costs(metric["name"], runs)
    except GdjaxError as error:
        return {"note": f"No verdict: {error}."}
    y = -values if metric["share"] else values
    p_values = adjusted_p_values([*y[:, None]], y)
    best, tied = best_and_tied(y, p_values, statistics.LEVEL)
    return {"best": best, "tied": np.isin(np.arange(len(y)), tied).astype(np.uint8)}


def importance(finals, metrics, names):
    """Return shares of the variance of ranks of the final cost, and of divergence, by axes."""
    cost = [values for m, values in zip(metrics, finals, strict=False) if m["name"] == "cost"]
    varied = [i for i, size in enumerate(finals[0].shape[:-1]) if size > 1] if finals else []
    if not cost or len(varied) < 1 or np.isnan(cost[0]).any():
        return []
    squeezed = [
        np.squeeze(v, tuple(i for i in range(v.ndim - 1) if i not in varied))
        for v in (cost[0], finals[-1])
    ]
    flat = squeezed[0].reshape(-1, squeezed[0].shape[-1])
    ranks = stats.rankdata(flat, axis=0).reshape(squeezed[0].shape)
    parts = [shares(values, len(varied)) for values in (ranks, squeezed[1])]
    rows = [
        {
            "axes": " and ".join(names[varied[i]].replace("_", " ") for i in u),
            "rank": _interval(parts[0][u]),
            "diverged": _interval(parts[1][u]),
        }
        for u in parts[0]
    ]
    return sorted(rows, key=lambda row: -(row["rank"] or [0])[0])


def shares(values: Float[np.ndarray, "*axes seeds"], count: int) -> dict:
    """Return the shares of the variance that each axis and each pair explains, by seed.

    Args:
        values: one value per setting, and seed on the last axis.
        count: number of axes of settings.
    """
    centered = values - values.mean(axis=tuple(range(count)))
    total = np.mean(centered**2, axis=tuple(range(count)))
    effects, result = {}, {}
    for u in [(i,) for i in range(count)] + [*itertools.combinations(range(count), 2)]:
        others = tuple(i for i in range(count) if i not in u)
        effects[u] = centered.mean(axis=others, keepdims=True)
        if len(u) == 2:
            effects[u] = effects[u] - effects[u[:1]] - effects[u[1:]]
        variance = np.mean(effects[u] ** 2, axis=tuple(range(count)))
        result[u] = np.divide(variance, total, out=np.full_like(total, np.nan), where=total > 0)
    return result


def _interval(values):
    """Return median and interval over the seeds in which anything varies, or None."""
    try:
        half = statistics.median(values)
    except GdjaxError:
        return None
    return [v if math.isfinite(v) else None for v in (half.value, half.low, half.high)]
