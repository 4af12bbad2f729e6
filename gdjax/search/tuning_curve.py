"""Tuning curves: best result of k random settings, to compare optimizers.

    median of the best of k = quantile 1 - 2^(-1/k) of the results of random settings
    E min(x_1, ..., x_k) = sum_j x_(j) C(n - j, k - 1) / C(n, k)

Here x_(1) <= ... <= x_(n) are the results of n settings. The sum is the mean over all subsets of k
settings, so it is unbiased. A quantile has an interval between two order statistics, whatever the
distribution of the results; a mean of unbounded results has none (Bahadur and Savage 1956). The
best result of an optimizer improves with the number of trials, so optimizers have to be compared at
equal numbers of trials.

>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> grid = axes(learning_rate=[0.01, 0.02, 0.05, 0.1, 0.15, 0.2], seed=range(3))
>>> curve = tuning_curve(sweep(problems.bowl([1.0, 9.0]), grid, 30), trials=[1, 2, 6])
>>> curve.expected_best.values.round(3).tolist()
[0.062, 0.011, 0.0]

References: Dodge et al. 2019, *Show your work: improved reporting of experimental results*; Tang et
al. 2020, arXiv 2004.13705, for the bias of the estimate with replacement; Lourie et al. 2023, *Show
your work with confidence*, arXiv 2311.09480.
"""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.special import gammaln
from scipy.stats import binom, rankdata

from gdjax.base.arguments import check_choice, check_increasing, check_limits
from gdjax.base.arrays import check_sweep_dataset
from gdjax.base.errors import InputError
from gdjax.base.limits import Share
from gdjax.base.statistics import LEVEL
from gdjax.descent.outcome import Outcome
from gdjax.search.spec import DIRECTIONS
from gdjax.stores.location import StoreLike
from gdjax.stores.reader import opened
from gdjax.sweeps.axes import SEEDS, axes_along
from gdjax.sweeps.dataset import check_equal_costs, check_last_records

OPTIMIZER = "optimizer"  # axis with one curve per value, unless other axes are given
HALF = 1e-9  # tolerance for rounding errors of a cumulative probability of 1/2


def tuning_curve(
    runs: xr.Dataset | StoreLike,
    metric: str = "cost",
    *,
    trials: Sequence[int] | np.ndarray | None = None,
    by: Sequence[str] | None = None,
    direction: str = "minimize",
    level: float = LEVEL,
) -> xr.Dataset:
    """Return the best of k random settings of a sweep, as a function of k.

    The k settings are drawn without replacement from those of the sweep, and one seed is drawn for
    all of them. Of their runs with this seed, the one with the best last record is chosen. Its
    result is biased by the selection: on average, the chosen setting has worse results with other
    seeds. The `fresh` curves therefore use the results of the chosen setting with the other seeds.

    The ends of the interval of `median_best` are order statistics of one result of each setting;
    the settings have the seeds in turn. If the settings are random draws from the search space, it
    covers the median of the best of k random settings with these seeds with probability at least
    `level`, for every distribution of results. Its ends are infinite for fewer than log2(2 / (1 -
    level)) k settings, so that 95 % require 6, 11, 22 and 43 settings for k = 1, 2, 4 and 8.

    Args:
        runs: Dataset of a sweep, or the path or URL of its store. All runs must be finished.
        metric: "cost" or a recorded metric; not "cost" if a keyword of the cost was swept. A run
            that diverged has the worst value, +inf or -inf.
        trials: increasing numbers k of settings; None for 1 and the powers of 2 with finite
            intervals.
        by: axes with one curve per value; None for "optimizer", if there is such an axis. Seed axes
            are combined into one, and all other axes into settings. Axes that vary together are
            seeds if all of them are seeds.
        direction: "minimize" or "maximize".
        level: least coverage of the intervals.

    Returns:
        Dataset over the axes `by` and `trials`, with `expected_best` and `median_best`: mean and
        median over subsets of settings and over seeds. With two or more seeds, `expected_fresh` and
        `median_fresh`: mean and median for the other seeds. Only `median_best` has an interval,
        `median_best_low` and `median_best_high`. The attribute `advice` says why there is only one
        k, if none were given and the sweep has too few settings for two.

    Examples:
        A curve per optimizer:

        >>> import optax
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> def make_optimizer(optimizer, learning_rate):
        ...     return getattr(optax, optimizer)(learning_rate)
        >>> grid = axes(optimizer=["sgd", "adam"], learning_rate=[0.01, 0.1, 0.2, 0.3], seed=[0, 1])
        >>> runs = sweep(problems.bowl([1.0, 9.0]), grid, 30, make_optimizer=make_optimizer)
        >>> dict(tuning_curve(runs).median_fresh.sizes)
        {'optimizer': 2, 'trials': 1}
    """
    check_choice("direction", direction, DIRECTIONS)
    check_limits("level", level, Share)
    runs = opened(runs)
    sign = 1.0 if direction == "minimize" else -1.0
    values, by = _values(runs, metric, by, math.inf * sign)
    num_settings, num_seeds = values.shape[-2:]
    advice = ""
    if trials is None:
        per_trial = math.log2(2 / (1 - level))
        largest = max(1, int(num_settings / per_trial))
        trials = [2**power for power in range(largest.bit_length())]
        if largest == 1:
            advice = (
                f"only k = 1: an interval for the best of 2 needs {math.ceil(2 * per_trial)} "
                f"settings, and the sweep has {num_settings}"
            )
    trials = check_increasing("trials", trials, num_settings)
    curves = [_curve(sign * values[at], trials, level) for at in np.ndindex(values.shape[:-2])]
    ends = ("median_best_low", "median_best_high")
    swapped = dict(zip(ends, ends[::-1] if sign < 0 else ends, strict=True))
    variables = {
        swapped.get(name, name): (
            (*by, "trials"),
            sign * np.reshape([curve[name] for curve in curves], (*values.shape[:-2], -1)),
        )
        for name in curves[0]
    }
    coords = {
        name: coordinate
        for name, coordinate in runs.coords.items()
        if coordinate.ndim and set(coordinate.dims) <= set(by)
    }
    attrs = {
        "result": "tuning_curve",
        "metric": metric,
        "direction": direction,
        "level": level,
        "num_settings": num_settings,
        "num_seeds": num_seeds,
        "advice": advice,
    }
    return xr.Dataset(variables, {**coords, "trials": trials}, attrs)


def _values(runs, metric, by, worst):
    """Return last records along the axes `by`, settings and seeds; and the axes `by`."""
    check_sweep_dataset("runs", runs, or_else=", or the path or URL of a store")
    check_equal_costs(metric, runs)
    dims = runs["outcome"].dims
    names = [str(name) for name, v in runs.data_vars.items() if set(v.dims) == {*dims, "step"}]
    check_choice("metric", metric, names)
    if by is None:
        by = [name for name in dims if name == OPTIMIZER]
    is_list = isinstance(by, Sequence) and not isinstance(by, str)
    if not is_list or any(name not in dims for name in by) or len(set(by)) < len(by):
        raise InputError(
            f"by = {by!r:.80}, expected names of axes, each once, such as ['optimizer']; the axes "
            f"are {', '.join(map(str, dims))}"
        )
    along = axes_along(runs)
    seeds = [dim for dim in dims if dim not in by and set(along[dim]) <= set(SEEDS)]
    settings = [name for name in dims if name not in (*by, *seeds)]
    check_last_records(metric, runs)
    last = runs[metric].isel(step=-1).where(runs["outcome"] != Outcome.DIVERGED, worst)
    array = last.transpose(*by, *settings, *seeds).values.astype(float)
    shape = [math.prod(runs.sizes[name] for name in names) for names in (settings, seeds)]
    return array.reshape(*array.shape[: len(by)], *shape), tuple(by)


def _shares(trials, n) -> Float[np.ndarray, "trials counts"]:
    """Return C(m, k) / C(n, k) for each number k of trials and m = 0, ..., n.

    It is the share of the subsets of k of n settings that are contained in a given subset of m.
    """
    m, k = np.arange(n + 1), np.asarray(trials)[:, None]
    below = np.maximum(m - k, 0)
    logs = gammaln(m + 1) - gammaln(below + 1) - gammaln(n + 1) + gammaln(n - k + 1)
    return np.where(m >= k, np.exp(logs), 0.0)


def _curve(x: Float[np.ndarray, "settings seeds"], trials, level):
    """Return the curves of one optimizer, for minimization."""
    n, num_seeds = x.shape
    shares = _shares(trials, n)
    first, behind = (rankdata(x, side, axis=0).astype(int) for side in ("min", "max"))
    # Equal results are chosen with equal probability.
    chosen = (shares[:, n + 1 - first] - shares[:, n - behind]) / (behind - first + 1)
    weights = {"best": chosen / num_seeds}
    if num_seeds > 1:
        others = chosen.sum(axis=-1, keepdims=True) - chosen
        weights["fresh"] = others / (num_seeds * (num_seeds - 1))
    flat = np.argsort(x, axis=None)
    curve = {}
    for name, w in weights.items():
        curve[f"expected_{name}"] = np.sum(w * np.where(w > 0, x, 0), axis=(1, 2))
        below = np.cumsum(w.reshape(len(w), -1)[:, flat], axis=1)
        middle = [np.sum(below < 0.5 - HALF, axis=1), np.sum(below <= 0.5 + HALF, axis=1)]
        curve[f"median_{name}"] = x.ravel()[flat[middle]].mean(axis=0)
    # The number of results below the quantile of order p is binomial. With several seeds in turn, a
    # result is below it with different probabilities, whose mean is p. The number then has smaller
    # tails (Hoeffding 1956).
    one_seed_each = np.sort(x[np.arange(n), np.arange(n) % num_seeds])
    bounded = np.concatenate([[-math.inf], one_seed_each, [math.inf]])
    p = 1 - 2.0 ** (-1 / np.asarray(trials))
    low, high = (
        bounded[binom.ppf(q, n, p).astype(int) + i]
        for i, q in enumerate([(1 - level) / 2, (1 + level) / 2])
    )
    # The median over all runs may lie outside the interval from one run of each setting.
    curve["median_best_low"] = np.minimum(low, curve["median_best"])
    curve["median_best_high"] = np.maximum(high, curve["median_best"])
    return curve
