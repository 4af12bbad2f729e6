"""Comparison of settings, tuned on half of the seeds and compared on the other half.

A setting that is tuned on the same seeds on which it is compared seems better than it is, the more
so the more values are tried. Halves avoid this (`gdjax.search.cross_fitting` has the equations). If
setting B is at least as good as A at one of its tuned values, then on each half of the seeds, given
the other half, the p-value that A is better is valid. The halves depend on each other through the
choices; in simulations, the errors and intervals of both halves together keep their levels
(experiments/comparisons).

References: Demsar 2006, Journal of Machine Learning Research 7, 1 (signed ranks, Holm); Cawley and
Talbot 2010, *ibid.* 11, 2079 (bias of tuning on compared data); Berger 1982, Technometrics 24, 295
(all of several tests have to reject).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

import gdjax
from gdjax.base import statistics
from gdjax.base.arguments import check_choice, check_limits, check_text
from gdjax.base.errors import InputError
from gdjax.base.limits import Share
from gdjax.base.reprs import fields
from gdjax.base.signed_ranks import least_pairs, pair_means
from gdjax.search.cross_fitting import adjusted_p_values, exchanged_values, interval, worse_by
from gdjax.search.final_values import final_values
from gdjax.search.spec import DIRECTIONS

POWER = 0.8
NOT_SHOWN = "not shown to differ"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Which settings are better, by how much, and which are not shown to differ.

    Args:
        of: name of the compared axis.
        metric: compared quantity.
        direction: "minimize" or "maximize".
        level: level of the intervals; 1 - level is the family-wise error of all verdicts.
        settings: one row per setting, in the order of the axis. `median`, `low` and `high` over
            seeds, with an interval; `diverged`, the number of these runs that diverged; for each
            tuned axis the values chosen on the first and on the second half, NAME_1 and NAME_2.
        pairs: one row per pair (`first`, `second`) of settings. `difference` is first - second, a
            Hodges-Lehmann estimate, with the ends `low` and `high` of its interval; `ratio` first /
            second with `ratio_low` and `ratio_high`, NaN unless all values are positive; `won` and
            `lost`, the numbers of seeds with which first was better and worse; `p_better` and
            `p_worse`, p-values after Holm's correction; `verdict` on first: "better", "worse" or
            "not shown to differ"; `seeds_needed` to show half of the difference with a probability
            of 80 %, missing without a finite difference. Each interval holds by itself.
        values: the compared values, one row per setting and one column per seed.
        best: setting with the best median.
        tied: settings that are not shown to be worse than `best`, which is one of them.
        methods: description of the comparison in one sentence, for a paper.
    """

    of: str
    metric: str
    direction: str
    level: float
    settings: pd.DataFrame
    pairs: pd.DataFrame
    values: pd.DataFrame
    best: Any
    tied: tuple[Any, ...]
    methods: str

    __repr__, _repr_html_ = fields

    def __str__(self) -> str:
        lines = [
            describe(pair, self.metric) for pair in self.pairs.reset_index().to_dict("records")
        ]
        others = [str(name) for name in self.tied if name != self.best]
        worse = f"not shown to be worse: {', '.join(others) or 'no other'}"
        for name, row in self.settings.iterrows():
            if row["diverged"]:
                count = f"{row['diverged']:.0f} of {self.values.shape[1]} runs diverged"
                lines.append(f"{name}: {count} at its tuned values")
        return "\n".join([*lines, f"best median: {self.best}; {worse}", self.methods])


def describe(pair: dict[str, Any], metric: str) -> str:
    """Return a sentence on one row of `Comparison.pairs`.

    Examples:
        >>> row = {"first": "adam", "second": "sgd", "verdict": "better", "difference": -0.5}
        >>> row |= {"low": -0.7, "high": -0.2, "won": 15, "lost": 1, "ratio": np.nan}
        >>> describe(row, "cost")
        'adam is better than sgd: cost differs by -0.5 (-0.7 to -0.2), with 15 of 16 seeds better'
    """
    verdict = {
        "better": f"{pair['first']} is better than {pair['second']}",
        "worse": f"{pair['first']} is worse than {pair['second']}",
        NOT_SHOWN: f"{pair['first']} and {pair['second']} are not shown to differ",
    }[pair["verdict"]]
    difference = f"{pair['difference']:.3g} ({pair['low']:.3g} to {pair['high']:.3g})"
    if np.isfinite(pair["ratio"]):
        difference += f", ratio {pair['ratio']:.3g} ({pair['ratio_low']:.3g} to "
        difference += f"{pair['ratio_high']:.3g})"
    seeds = pair["won"] + pair["lost"] + pair.get("equal", 0)
    seeds = f"{pair['won']} of {seeds} seeds better"
    return f"{verdict}: {metric} differs by {difference}, with {seeds}"


def compare(
    runs: Any,
    of: str = "setting",
    *,
    tune: str | Sequence[str] = (),
    seeds: str | Sequence[str] | None = None,
    metric: str = "cost",
    direction: str = "minimize",
    level: float = statistics.LEVEL,
) -> Comparison:
    """Compare settings, each tuned on half of the seeds and compared on the other half.

    Each setting is tuned on every second seed: the chosen value has the lowest median of the
    metric, in which a run that diverged counts as the worst. Runs with the other seeds at this
    value are compared, and then the two halves are exchanged, so that each seed gives one value
    per setting. Setting A is better than B if its values are better, by pairs of equal seeds, than
    those of B at every tuned value (one-sided signed-rank tests). If B is as good at one of its
    tuned values, the probability of this verdict is at most (1 - level) / 2 before the correction
    of Holm for the number of pairs. The interval of a difference has the same meaning: it contains
    all numbers by which the best values of the two settings may differ.

    Args:
        runs: Dataset of a sweep; path or URL of its store; DataFrame with one row per run, where
            NaN and infinity mean that a run diverged; or a mapping of names to any of these, which
            are then the compared settings.
        of: compared axis, or column of a DataFrame; for a mapping, a name for its keys.
        tune: axes of which each setting gets its best value; all remaining axes must be seeds.
        seeds: seed axes; None for `seed`, `data_seed`, `noise_seed` and `perturbation_seed`. If two
            of them are crossed, the one with fewer values is reduced by the median.
        metric: "cost", a recorded metric, or a column of a DataFrame. The last record is compared.
            Costs are not compared between values of a keyword of the cost, such as its decay.
        direction: "minimize" or "maximize".
        level: level of the intervals, and 1 - family-wise error of the verdicts.

    Returns:
        Comparison. `print` shows verdicts and a methods sentence, `gd.plot` draws it.

    Raises:
        InputError: if there are too few seeds for any verdict. For S settings, 2^-n must be at most
            (1 - level) / (S (S - 1)): 6, 7, 9 and 11 seeds for 2, 3, 5 and 10 settings at 95 %.

    Examples:
        >>> import optax
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> def make_optimizer(optimizer, learning_rate):
        ...     return getattr(optax, optimizer)(learning_rate)
        >>> grid = axes(optimizer=["sgd", "adam"], learning_rate=[0.02, 0.1, 0.2], seed=range(8))
        >>> runs = sweep(problems.bowl([1.0, 9.0]), grid, 30, make_optimizer=make_optimizer)
        >>> result = compare(runs, "optimizer", tune="learning_rate")
        >>> result.pairs.verdict.tolist(), result.tied
        (['better'], ('sgd',))
    """
    check_text("of", of)
    check_choice("direction", direction, DIRECTIONS)
    check_limits("level", level, Share)
    tune, seeds = _names("tune", tune), seeds if seeds is None else _names("seeds", seeds)
    table = final_values(runs, of, tune, seeds, metric, direction)
    labels = table.index.get_level_values(of).unique()
    _check_counts(table, labels, of, level)
    x = [table.loc[table.index.get_level_values(of) == label].to_numpy() for label in labels]
    y, chosen = exchanged_values(x)
    sign = 1.0 if direction == "minimize" else -1.0
    p_values = adjusted_p_values(x, y)
    logs = _logarithms(x, y, sign)
    rows = {
        (labels[i], labels[j]): _pair(x, y, logs, i, j, sign, p_values, level)
        for i, j in combinations(range(len(labels)), 2)
    }
    pairs = pd.DataFrame.from_dict(rows, orient="index").astype({"seeds_needed": "Int64"})
    pairs.index = pd.MultiIndex.from_tuples(rows, names=["first", "second"])
    settings = _settings(table, labels, of, tune, chosen, sign * y, level)
    best, tied = best_and_tied(y, p_values, level)
    return Comparison(
        of=of,
        metric=metric,
        direction=direction,
        level=level,
        settings=settings,
        pairs=pairs,
        values=pd.DataFrame(sign * y, labels, table.columns),
        best=labels[best],
        tied=tuple(labels[i] for i in tied),
        methods=_methods(of, tune, x, y, metric, direction, level),
    )


def best_and_tied(y, p_values, level):
    """Return the setting with the best median, and those that are not shown to be worse."""
    best = int(np.lexsort([np.isinf(y).sum(axis=1), np.median(y, axis=1)])[0])
    return best, [i for i in range(len(y)) if not p_values[best, i] <= 1 - level]


def _names(name, value):
    names = [value] if isinstance(value, str) else value
    is_list = isinstance(names, Sequence) and all(isinstance(n, str) for n in names)
    if not is_list or len(set(names)) < len(names):
        raise InputError(
            f"{name} = {value!r:.80}, expected the name of an axis, or a list of names"
        )
    return [*names]


def _check_counts(table, labels, of, level):
    """Check that a verdict is possible."""
    count, num_seeds = len(labels), table.shape[1]
    if count < 2:
        raise InputError(f"of: {of} has one value, expected at least 2 to compare")
    least = least_pairs((1 - level) / (count * (count - 1)))
    if num_seeds < least:
        raise InputError(
            f"runs: {num_seeds} seeds, expected at least {least}, with which a verdict on {count} "
            f"settings is possible at level {level:g}; add seeds, or compare fewer settings"
        )


def _logarithms(x, y, sign):
    """Return the logarithms of all values, or None if a finite value is not positive."""
    if not all(np.all(sign * values[np.isfinite(values)] > 0) for values in x):
        return None

    def log(values):
        finite = np.isfinite(values)
        return np.where(finite, sign * np.log(np.where(finite, sign * values, 1.0)), np.inf)

    return [log(values) for values in x], log(y)


def _pair(x, y, logs, i, j, sign, p_values, level):
    """Return the comparison of settings i and j."""
    estimate, low, high = interval(x, y, i, j, level)
    ends = sorted([-sign * low, -sign * high])
    ratio = [np.nan] * 3
    if logs is not None:
        with np.errstate(over="ignore"):
            ratio = np.exp(-sign * np.array(interval(*logs, i, j, level)))
        ratio = [ratio[0], *np.sort(ratio[1:])]
    d = worse_by(y[j], y[i])
    p_better, p_worse = p_values[i, j], p_values[j, i]
    shown = min(p_better, p_worse) <= 1 - level
    return {
        "verdict": ("better" if p_better < p_worse else "worse") if shown else NOT_SHOWN,
        "difference": -sign * estimate,
        "low": ends[0],
        "high": ends[1],
        "ratio": ratio[0],
        "ratio_low": ratio[1],
        "ratio_high": ratio[2],
        "won": int(np.sum(d > 0)),
        "lost": int(np.sum(d < 0)),
        "equal": int(np.sum(d == 0)),
        "p_better": p_better,
        "p_worse": p_worse,
        "seeds_needed": _seeds_needed(d, estimate, len(x), level),
    }


def _seeds_needed(d, estimate, count, level):
    """Return the number of seeds that would show half of the difference, at the first step of Holm.

    Half of the estimate is subtracted from all differences, and the share of positive means is that
    of the results.
    """
    if estimate == 0 or not np.isfinite(estimate):
        return pd.NA
    means = pair_means(d * np.sign(estimate)) - abs(estimate) / 2
    share = (np.sum(means > 0) + 0.5) / (len(means) + 1)
    pairs = count * (count - 1) / 2
    if not share > 0.5:
        return pd.NA
    return statistics.seeds_needed_by_ranks(share, power=POWER, level=1 - (1 - level) / pairs)


def _settings(table, labels, of, tune, chosen, values, level):
    """Return the table of settings."""
    rows = []
    for label, (first, second), row in zip(labels, chosen, values, strict=True):
        own = table.index[table.index.get_level_values(of) == label]
        worst = np.isinf(row)
        sign = -1.0 if np.any(row == -np.inf) else 1.0
        half = statistics.median(sign * row, level=level)
        ends = sorted([sign * half.low, sign * half.high])
        tuned = {
            f"{name}_{number}": own.get_level_values(name)[choice]
            for name in tune
            for number, choice in ((1, first), (2, second))
        }
        rows.append(
            {
                "median": sign * half.value,
                "low": ends[0],
                "high": ends[1],
                "diverged": int(worst.sum()),
                **tuned,
            }
        )
    return pd.DataFrame(rows, labels)


def _methods(of, tune, x, y, metric, direction, level):
    """Return the description of a comparison in one sentence."""
    count, n = y.shape
    value, name = metric.replace("_", " "), of.replace("_", " ")
    better = "lower" if direction == "minimize" else "higher"
    procedure, where = "compared, with diverged runs as the worst", ""
    if tune:
        sizes = sorted({len(values) for values in x})
        size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        axes = " and ".join(axis.replace("_", " ") for axis in tune)
        procedure = (
            f"tuned on one half of the seeds (best median {value} of {size} settings of {axes}, "
            f"with diverged runs as the worst) and compared on the other half, with the halves "
            f"exchanged"
        )
        where = f" at every {axes}"
    return (
        f"With {n} seeds, the {count} values of {name} were {procedure}; one is called better than "
        f"another if its {value} was {better}, by pairs of equal seeds, than that of the "
        f"other{where}, by one-sided Wilcoxon signed-rank tests with Holm's correction for "
        f"{count * (count - 1)} tests at a family-wise error of {1 - level:.2g}, and differences "
        f"are Hodges-Lehmann estimates with {100 * level:g} % intervals (gdjax "
        f"{gdjax.__version__})."
    )
