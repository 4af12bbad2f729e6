"""Comparison of tuned settings: closed forms, error rates of simulated sweeps, and refusals."""

import inspect
import math
import re
import time

import numpy as np
import optax
import pandas as pd
import pytest

import gdjax as gd
from gdjax.search.cross_fitting import adjusted_p_values, exchanged_values, interval

INF = math.inf


def frame_of(x, names=("optimizer", "learning_rate", "seed"), metric="cost"):
    """Return a table with one row per run of an array over settings, tuned values and seeds."""
    index = pd.MultiIndex.from_product([range(n) for n in x.shape], names=names)
    return pd.Series(np.ravel(x), index, name=metric).reset_index()


def compared(x, **settings):
    return gd.compare(frame_of(np.asarray(x, float)), "optimizer", tune="learning_rate", **settings)


def test_each_half_of_the_seeds_is_compared_at_the_choice_of_the_other_half():
    """At even seeds the first rate is best, at odd seeds the second: halves choose crosswise."""
    x = np.zeros((2, 2, 8))
    x[0, 0], x[0, 1] = np.tile([1.0, 5.0], 4), np.tile([4.0, 2.0], 4)
    x[1] = 10
    result = compared(x)
    assert result.settings.loc[0, ["learning_rate_1", "learning_rate_2"]].tolist() == [0, 1]
    assert result.values.loc[0].tolist() == [4.0, 5.0] * 4


def test_a_setting_is_better_only_if_it_is_better_at_every_tuned_value():
    """Setting 1 is bad at the rate that its halves choose, and good at another one."""
    x = np.full((2, 2, 8), 5.0) + 0.01 * np.arange(8)
    x[0] -= 2
    assert compared(x).pairs.verdict.tolist() == ["better"]
    x[1, 1, ::2], x[1, 0, ::2] = 9, 0  # even seeds choose rate 0, at which odd seeds are as before
    result = compared(x)
    assert result.values.loc[1].iloc[1] > result.values.loc[0].iloc[1]
    assert result.pairs.verdict.tolist() == ["not shown to differ"]
    assert result.tied == (0, 1) or result.tied == (1, 0)


def test_a_comparison_without_tuning_equals_tests_of_scipy():
    from scipy import stats

    x = np.random.default_rng(0).normal(size=(3, 1, 12)) + 5 + np.arange(3)[:, None, None]
    result = compared(x)
    pairs = [(0, 1), (0, 2), (1, 2), (1, 0), (2, 0), (2, 1)]
    p = [stats.wilcoxon(x[s, 0], x[t, 0], alternative="less").pvalue for s, t in pairs]
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(np.minimum(1, np.sort(p) * np.arange(6, 0, -1)))[
        np.argsort(order)
    ]
    assert np.allclose(result.pairs.p_better, adjusted[:3])
    assert np.allclose(result.pairs.p_worse, adjusted[3:], atol=1e-12)
    first = result.pairs.loc[(0, 1)]
    reference = gd.statistics.hodges_lehmann(x[0, 0] - x[1, 0])
    assert np.allclose(first[["difference", "low", "high"]].astype(float), reference[:3])
    logs = gd.statistics.hodges_lehmann(np.log(x[0, 0] / x[1, 0]))
    assert np.allclose(first[["ratio", "ratio_low", "ratio_high"]].astype(float), np.exp(logs[:3]))


def test_larger_values_are_better_if_the_metric_is_maximized():
    x = np.random.default_rng(0).normal(size=(2, 3, 10)) + 9
    x[0] += 4
    for sign in (1, -1):
        low, high = ("worse", "better")[::sign]
        up, down = compared(sign * x, direction="maximize"), compared(sign * x)
        assert (up.pairs.verdict.item(), down.pairs.verdict.item()) == (high, low)
        assert np.isnan(up.pairs.ratio.item()) == (sign < 0)
    down, up = compared(-x).pairs.iloc[0], compared(x, direction="maximize").pairs.iloc[0]
    assert [down.difference, down.low, down.high] == [-up.difference, -up.high, -up.low]


def test_divergence_counts_as_worst_and_is_reported():
    """The setting with three of ten diverged runs is better wherever it does not diverge."""
    x = np.random.default_rng(1).normal(size=(2, 1, 10)) * 0.1 + 5
    x[0] -= 0.3
    x[0, 0, :3] = INF
    result = compared(x)
    assert gd.statistics.paired(x[1, 0], x[0, 0]).high < 0  # omits the diverged pairs
    assert result.pairs.verdict.tolist() == ["not shown to differ"]
    assert result.settings.diverged.tolist() == [3, 0]
    assert "0: 3 of 10 runs diverged" in str(result)
    x[1] = INF
    result = compared(x)
    assert (result.best, result.pairs.verdict.item()) == (0, "better")
    assert result.pairs.seeds_needed.isna().all()
    assert (result.pairs.won.item(), result.pairs.equal.item()) == (7, 3)
    x[:] = np.nan
    assert compared(x).pairs.difference.item() == 0


def test_numbers_of_needed_seeds_show_half_of_the_difference_with_the_stated_power():
    """The estimate from many seeds is compared with simulated verdicts at that number."""
    rng = np.random.default_rng(2)

    def draw(shift, seeds):
        return np.stack([rng.normal(size=(1, seeds)), rng.normal(size=(1, seeds)) + shift])

    needed = compared(draw(1.6, 400)).pairs.seeds_needed.item()
    won = [compared(draw(0.8, needed)).pairs.verdict.item() == "better" for _ in range(300)]
    assert 0.7 < np.mean(won) < 0.92


@pytest.mark.parametrize(("settings", "least"), [(2, 6), (3, 7), (5, 9), (10, 11)])
def test_too_few_seeds_for_any_verdict_are_refused(settings, least):
    x = np.broadcast_to(np.arange(settings)[:, None, None], (settings, 1, least)) + 0.0
    assert "better" in compared(x).pairs.verdict.tolist()
    with pytest.raises(gd.errors.InputError, match=f"expected at least {least}"):
        compared(x[..., :-1])


def curved(rng, settings, rates, seeds, *, kind="normal", shift=0.0):
    """Return values with a minimum along the rates, and noise that rates share in part."""
    draw = {"normal": rng.normal, "heavy": lambda size: rng.standard_t(2, size)}[kind]
    x = draw(size=(settings, 1, seeds)) + draw(size=(settings, rates, seeds))
    x = x / math.sqrt(2) + 10 * np.linspace(-1, 1, rates)[:, None] ** 2
    x[1:] += shift
    return x


@pytest.mark.parametrize(
    ("settings", "seeds", "kind"),
    [(2, 8, "normal"), (2, 16, "heavy"), (4, 16, "normal"), (10, 12, "normal")],
)
@pytest.mark.long
def test_equal_settings_are_rarely_called_different(settings, seeds, kind):
    rng = np.random.default_rng(seeds)
    errors, covered = 0, 0
    for _ in range(400):
        x = curved(rng, settings, 12, seeds, kind=kind)
        y, _ = exchanged_values(x)
        errors += adjusted_p_values(x, y).min() <= 0.05
        _, low, high = interval(x, y, 0, 1, 0.95)
        covered += low <= 0 <= high
    assert errors <= 0.05 * 400 + 2 * math.sqrt(400 * 0.05 * 0.95)
    assert covered >= 0.95 * 400 - 2 * math.sqrt(400 * 0.05 * 0.95)


@pytest.mark.long
def test_the_best_of_equal_rates_on_the_same_seeds_seems_better_and_on_others_does_not():
    """Setting 0 has twelve equally good rates and setting 1 has one: naive tuning favors 0."""
    from scipy import stats

    rng = np.random.default_rng(0)
    naive, errors = 0, 0
    for _ in range(400):
        x = rng.normal(size=(2, 12, 16))
        x[1, 1:] += 50
        y, _ = exchanged_values(x)
        errors += adjusted_p_values(x, y).min() <= 0.05
        best = x[0, np.argmin(np.median(x[0], axis=1))]
        naive += stats.ttest_rel(best, x[1, 0]).pvalue <= 0.05
    assert naive > 0.08 * 400
    assert errors <= 0.05 * 400 + 2 * math.sqrt(400 * 0.05 * 0.95)


@pytest.fixture(scope="module")
def grid():
    return {"learning_rate": [0.02, 0.1, 0.2], "seed": range(8)}


@pytest.fixture(scope="module")
def both(grid, tmp_path_factory):
    """Return the store of a sweep of two optimizers on a bowl."""
    store = tmp_path_factory.mktemp("compare") / "runs.zarr"
    gd.sweep(
        gd.problems.bowl([1.0, 9.0]),
        gd.axes(optimizer=["sgd", "adam"], **grid),
        20,
        make_optimizer=lambda optimizer, learning_rate: getattr(optax, optimizer)(learning_rate),
        record_every=20,
        store=store,
    )
    return store


def test_stores_datasets_tables_and_several_sweeps_give_one_comparison(both, grid):
    runs = gd.open_dataset(both).load()
    options = {"tune": "learning_rate"}
    parts = {name: runs.sel(optimizer=name) for name in ("sgd", "adam")}
    results = [
        gd.compare(both, "optimizer", **options),
        gd.compare(runs, "optimizer", **options),
        gd.compare(gd.sweeps.table(runs), "optimizer", **options),
        gd.compare(parts, "optimizer", **options),
        gd.compare(
            {name: gd.sweeps.table(part) for name, part in parts.items()}, "optimizer", **options
        ),
    ]
    for result in results:
        pd.testing.assert_frame_equal(result.pairs, results[0].pairs)
    assert results[0].pairs.verdict.tolist() == ["better"]
    assert "8 seeds" in results[0].methods
    figure = gd.plot(results[0])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["adam"]
    other = gd.sweep(
        gd.problems.bowl([1.0, 9.0]), gd.axes(**grid), 20, record_every=20, root_seed=1
    )
    with pytest.raises(gd.errors.InputError, match="root_seed differs"):
        gd.compare({"first": parts["sgd"], "other": other}, tune="learning_rate")


def test_of_crossed_seed_axes_the_shorter_one_is_reduced_by_the_median():
    x = np.random.default_rng(0).normal(size=(2, 8, 3))
    frame = frame_of(x, ("width", "seed", "data_seed"))
    result = gd.compare(frame, "width")
    assert np.allclose(result.values, np.median(x, axis=-1))
    zipped = frame[frame.data_seed == 0].assign(data_seed=lambda f: f.seed)
    assert gd.compare(zipped, "width").values.shape == (2, 8)


X = np.random.default_rng(0).normal(size=(2, 2, 8))


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (frame_of(X), {"of": "momentum"}, "axis = 'momentum' is unknown"),
        (frame_of(X), {"tune": 3}, "tune = 3, expected the name of an axis"),
        (frame_of(X), {"tune": []}, "several have optimizer = 0, seed = 0, expected one"),
        (frame_of(X)[:-1], {}, "lacks seed = 7"),
        (frame_of(X[:1]), {}, "optimizer has one value"),
        (frame_of(X), {"metric": "loss"}, "metric = 'loss' is unknown"),
        (frame_of(X), {"direction": "up"}, "direction = 'up' is unknown"),
        (frame_of(X).drop(columns="seed"), {}, "no seeds, expected"),
        ([1, 2], {}, "runs = list, expected a Dataset"),
    ],
)
def test_wrong_arguments_are_named(runs, options, message):
    arguments = {"of": "optimizer", "tune": "learning_rate", **options}
    with pytest.raises(gd.errors.InputError, match=re.escape(message)):
        inspect.unwrap(gd.compare)(runs, **arguments)


def test_axes_that_are_neither_tuned_nor_seeds_and_unfinished_runs_are_refused(both):
    runs = gd.open_dataset(both).load()
    with pytest.raises(gd.errors.InputError, match="the axis learning_rate is neither"):
        gd.compare(runs, "optimizer")
    runs["outcome"][0, 0, 0] = -1
    with pytest.raises(gd.errors.InputError, match="1 of 48 runs are not finished"):
        gd.compare(runs, "optimizer", tune="learning_rate")


@pytest.mark.long
def test_ten_settings_with_a_hundred_thousand_runs_are_compared_within_two_seconds():
    frame = frame_of(curved(np.random.default_rng(0), 10, 100, 100, shift=1.0))
    start = time.process_time()
    result = gd.compare(frame, "optimizer", tune="learning_rate")
    assert time.process_time() - start < 2
    assert result.best == 0
    assert result.pairs.loc[(0, 1)].verdict == "better"


def test_costs_with_different_decays_are_not_compared():
    """The cost is lowest without decay, whatever decay does to the metric."""
    bowl = gd.Problem(
        lambda key: gd.problems.bowl([1.0, 9.0]).init(key),
        lambda w, *, decay=0.0: w @ w + decay * (w @ w),
        metrics={"norm": lambda problem, w: w @ w},
    )
    runs = gd.sweep(bowl, gd.axes(decay=[0.0, 1.0], learning_rate=[0.05, 0.1], seed=range(8)), 3)
    parts = {name: runs.sel(decay=[name]) for name in (0.0, 1.0)}
    refused = pytest.raises(gd.errors.InputError, match="the cost depends on decay, which differs")
    with refused:
        gd.compare(runs, "decay", tune="learning_rate")
    with refused:
        gd.compare(runs, "learning_rate", tune="decay")
    with refused:
        gd.compare(parts, "part", tune=["learning_rate", "decay"])
    with refused:
        gd.search.tuning_curve(runs, by=["decay"])
    page = gd.explore(runs).html
    assert "No verdict: metric = 'cost': the cost depends on decay" in page
    result = gd.compare(runs, "decay", tune="learning_rate", metric="norm")
    assert result.pairs.verdict.tolist() == ["worse"]
    one = gd.compare(runs.sel(decay=1.0), "learning_rate")
    assert one.pairs.verdict.tolist() == ["worse"]


def test_the_figure_shows_diverged_seeds_at_the_edge_and_sorts_settings():
    x = np.random.default_rng(0).normal(size=(3, 1, 10)) * 0.1
    x += np.array([1.0, 0.0, 2.0])[:, None, None]
    x[2, 0, :2] = INF
    figure = gd.plot(compared(x))
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["0", "2"]
    assert axes.get_title(loc="left") == "1 is better than all others"
    assert sum(line.get_marker() == ">" for line in axes.lines) == 1
