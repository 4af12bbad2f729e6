"""Settings in the explorer: verdicts, statistics, importance, selections, and tables of others."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from browsing import OpenedPage
from page_data import HOSTILE, sweep

import gdjax as gd
from gdjax.base import statistics
from gdjax.pages.settings import shares


def seeded_runs(num_seeds=16):
    """Return 3 learning rates x 2 momenta with seeds; the largest rate diverges with two seeds."""
    random = np.random.default_rng(1)
    cost = np.array([3.0, 1.0, 2.0])[:, None, None] + np.array([0.0, 0.1])[:, None]
    cost = cost + random.normal(0, 0.3, (3, 2, num_seeds))
    cost[2, :, :2] = np.inf
    grid = ("learning_rate", "momentum", "seed")
    flags = {"flag_values": [0, 3], "flag_meanings": "not_converged diverged"}
    return xr.Dataset(
        {
            "cost": ((*grid, "step"), np.stack([np.full_like(cost, 4), cost], -1).astype("f4")),
            "outcome": (grid, np.where(np.isinf(cost), 3, 0).astype(np.int8), flags),
        },
        {
            "learning_rate": [0.001, 0.01, 0.1],
            "momentum": [0.0, 0.9],
            "seed": range(num_seeds),
            "step": [0, 10],
        },
    )


def data_of(page):
    text = re.search(r'id="data">(.*?)</script>', page.html, re.DOTALL).group(1)
    return json.loads(text)["sweep"]


def decoded(array):
    kinds = {"u1": np.uint8, "f4": np.float32}
    return np.frombuffer(base64.b64decode(array["bytes"]), kinds[array["kind"]])


def test_verdicts_equal_those_of_compare():
    runs = seeded_runs()
    (verdict,) = data_of(gd.explore(runs))["verdicts"]
    frame = runs.cost.isel(step=-1).to_dataframe().reset_index()
    pairs = zip(frame.learning_rate, frame.momentum, strict=True)
    frame["setting"] = [f"{rate} {momentum}" for rate, momentum in pairs]
    result = gd.compare(frame, "setting", seeds="seed")
    names = [*frame.setting.unique()]
    assert names[verdict["best"]] == result.best
    tied = decoded(verdict["tied"]).astype(bool)
    assert {n for n, is_tied in zip(names, tied, strict=True) if is_tied} == {*result.tied}
    assert 1 <= tied.sum() < 6


def test_too_few_seeds_for_a_verdict_are_reported():
    (verdict,) = data_of(gd.explore(seeded_runs(8)))["verdicts"]
    assert verdict == {"note": "A verdict on 6 settings needs at least 10 seeds, and each has 8."}


def test_shares_of_variance_equal_a_decomposition_by_hand():
    a, b = np.array([0.0, 3.0, 6.0]), np.array([0.0, 1.0])
    additive = (a[:, None] + b)[..., None]
    product = ((a - 3)[:, None] * (b - 0.5))[..., None]
    np.testing.assert_allclose(shares(additive, 2)[0,], 6 / 6.25)  # variances of a, b: 6 and 1/4
    np.testing.assert_allclose(shares(additive, 2)[0, 1], 0, atol=1e-12)
    np.testing.assert_allclose(shares(product, 2)[0, 1], 1)
    random = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.testing.assert_allclose(sum(shares(random, 2).values()), 1)


def exported_table():
    """Return runs as an export of W&B has them, with hostile names and values."""
    rates = [0.01, 0.1]
    rows = [(rate, f"={HOSTILE}", k, 1 / rate + k) for rate in rates for k in range(3)]
    frame = pd.DataFrame(rows, columns=["lr", HOSTILE, "seed", "val/loss"])
    frame.loc[5, "val/loss"] = np.nan
    return frame.assign(State=["finished"] * 5 + ["diverged"])


ASKED = {"axes": ["lr", HOSTILE], "seeds": ["seed"], "metrics": ["val/loss"]}


def test_a_table_of_others_is_shown_as_a_grid():
    data = data_of(gd.explore(exported_table(), **ASKED))
    assert [axis["dim"] for axis in data["axes"]] == ["lr", HOSTILE, "seed"]
    cost = decoded(data["metrics"][0]["values"]).reshape(2, 3)
    np.testing.assert_array_equal(cost, np.float32([[100, 101, 102], [10, 11, np.inf]]))
    assert (data["store"], data["replayable"], data["seeds"]) == (None, False, [2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": [], "seeds": []}, r"pass axes="),
        ({"axes": [HOSTILE]}, "several rows have"),
        ({"axes": ["nowhere"]}, "runs has no column 'nowhere'"),
        ({"metrics": ["State"]}, "has no numbers"),
        ({"metrics": []}, "the first is the cost"),
    ],
)
def test_a_table_without_a_column_is_refused(changes, message):
    with pytest.raises(gd.errors.InputError, match=message):
        gd.explore(exported_table(), **{**ASKED, **changes})


@pytest.fixture(scope="module")
def visit(browser, tmp_path_factory):
    runs = seeded_runs()
    runs.encoding["source"] = "runs.zarr"
    folder = tmp_path_factory.mktemp("settings")
    return OpenedPage(browser, gd.explore(runs).save(folder / "page.html"))


def seen(visit):
    """Evaluate JavaScript with the sweep of the page as `sweep`."""
    return lambda script: visit.page.evaluate(f"() => {{ const sweep = explored; {script} }}")


def infinities(values):
    return [{"Infinity": np.inf, "-Infinity": -np.inf}.get(v, v) for v in values]


def test_statistics_of_settings_equal_those_of_python(visit):
    cost = seeded_runs().cost.values[..., -1].reshape(6, 16).astype(float)
    rows = seen(visit)(
        "return sweep.members.map((list) => { const {median, low, high} ="
        " sweep.summary(0, list, 1); return [median, low, high]"
        ".map(String).map((v) => v.includes('I') ? v : +v) })"
    )
    for values, row in zip(cost, rows, strict=True):
        np.testing.assert_allclose(infinities(row), statistics.median(values)[:3], rtol=1e-12)
    pairs = seen(visit)(
        "return [[0, 2], [4, 5], [4, 0]].map(([a, b]) => { const {estimate, low, high} ="
        " sweep.paired(0, sweep.members[a], sweep.members[b], 1);"
        " return [estimate, low, high].map(String).map((v) => v.includes('I') ? v : +v) })"
    )
    for (a, b), row in zip([(0, 2), (4, 5), (4, 0)], pairs, strict=True):
        with np.errstate(invalid="ignore"):
            d = np.where(cost[a] == cost[b], 0, cost[a] - cost[b])
        np.testing.assert_allclose(
            infinities(row), statistics.hodges_lehmann(d)[:3], rtol=1e-9, atol=1e-12
        )


def test_the_table_is_sorted_and_two_settings_are_compared(visit):
    first = "#settings-rows tr:nth-child(1)"
    visit.page.wait_for_selector(first)
    assert "best median" in visit.text(first)
    visit.click("#settings-head th:nth-child(1) button")
    assert visit.text(f"{first} td") == "0.001"
    visit.click("#settings-head th:nth-child(1) button")
    assert visit.text(f"{first} td") == "0.1"
    visit.click(f"{first} button:has-text('show')")
    assert visit.text("#runs-told").startswith("learning rate 0.1, momentum 0: 2 diverged, 14 ")
    for row in (1, 5):
        visit.click(f"#settings-rows tr:nth-child({row}) button:has-text('compare')")
    assert visit.page.locator("#pair-curves path.band").count() == 2
    assert "with 1" in visit.text("#pair-told") or "better with" in visit.text("#pair-told")
    visit.page.select_option("#differences", "-2")
    visit.settle()
    assert "Hatched: the 95 % interval contains 0" in visit.text("#map-caption")
    visit.page.select_option("#differences", "-1")


@pytest.mark.parametrize("is_box", [True, False])
def test_the_copied_python_selects_the_same_runs(visit, is_box):
    runs = seeded_runs()
    index = [16, 17, 48, 49] if is_box else [0, 17, 90]
    text = visit.page.evaluate("(runs) => pythonSelection(explored, runs)", index)
    assert ("import" in text) is not is_box
    scope = {"runs": runs}
    exec(text, scope)
    costs = runs.cost.values[..., -1].ravel()[index]
    np.testing.assert_array_equal(
        np.sort(scope["selected"].cost.values[..., -1].ravel()), np.sort(costs)
    )


def test_the_copied_sweep_has_the_stored_values_and_finer_ones(visit):
    text = visit.page.evaluate("() => finerCall(explored, explored.members[2])")
    calls = {}
    recorder = type("Gd", (), {"axes": staticmethod(lambda **axes: axes)})
    recorder.extend = staticmethod(lambda *names, **options: calls.update(options))
    exec(text, {"gd": recorder, "float": float})
    scope = {"gd": recorder}
    exec(text.split("\nfiner")[0], scope)
    values = scope["axes"]["learning_rate"]
    np.testing.assert_allclose(values, np.geomspace(1e-3, 1e-1, 5), rtol=1e-7)
    assert {0.001, 0.01, 0.1} <= {*values}
    assert scope["axes"]["seed"] == [*range(16)]
    assert calls == {"to": "runs_finer.zarr"}


def test_brushes_of_two_figures_mark_the_runs_in_both(visit):
    visit.keys("#parallel", "ArrowUp")  # the lowest learning rates
    assert "32 of 96 runs are in the brushed range" in visit.text("#runs-told")
    visit.keys("#parallel", "ArrowRight", "ArrowUp")
    assert "16 of 96 runs are in the brushed range" in visit.text("#runs-told")
    visit.click("#exclude")
    assert "16 runs are hidden" in visit.text("#runs-told")
    before = visit.picture("#parallel")
    visit.click("#move-right")
    assert visit.picture("#parallel") != before
    visit.click("#unhide")
    assert "hidden" not in visit.text("#runs-told")


def test_the_state_is_in_the_address_and_wrong_addresses_are_ignored(browser, visit, tmp_path):
    page = gd.explore(seeded_runs()).save(tmp_path / "page.html")
    address = "#metric=0&x=1&y=0&step=0&fixed=-1.-1.3&pair=1.4&curves=settings&range0=0.500"
    opened = OpenedPage(browser, page, address=address)
    opened.page.wait_for_timeout(500)
    assert opened.page.evaluate("() => location.hash") == address
    assert opened.text("#time-told") == "0"
    assert opened.text("#others strong") == "3"
    assert opened.complaints == []
    assert opened.page.is_visible("#pair")
    assert "are in the brushed range" in opened.text("#runs-told")
    for wrong in ("#metric=9&x=1.5&step=-4&pair=99.1", f"#{HOSTILE}&x=x&fixed=", "#x=1&y=1"):
        other = OpenedPage(browser, page, address=wrong)
        assert other.text("#time-told") == "10"
        assert other.complaints == []


def test_a_hostile_table_does_nothing_and_is_accessible(browser, tmp_path):
    page = gd.explore(exported_table(), **ASKED, outcome="State")
    opened = OpenedPage(browser, page.save(tmp_path / "page.html"))
    opened.page.wait_for_selector("#settings-rows tr")
    assert opened.page.evaluate("() => window.broken") is None
    opened.click("#map", 0.9, 0.5)
    assert "cannot be replayed" in opened.text("#command-told")
    assert opened.page.is_hidden("#finer")
    text = opened.page.evaluate("() => csvOf(explored, 0, () => true)")
    assert all(
        field.startswith("'=") for field in re.findall(r'"([^a-z"]*=)', text.split("\n", 1)[1])
    )
    opened.check_errors_and_accessibility()


def test_a_map_of_diverged_runs_has_no_color_bar(browser, tmp_path):
    runs = sweep().map(
        lambda v: xr.full_like(v, np.inf) if v.dtype.kind == "f" else v, keep_attrs=True
    )
    runs["test_accuracy"] = runs.test_accuracy * np.nan
    opened = OpenedPage(browser, gd.explore(runs).save(tmp_path / "page.html"))
    opened.page.select_option("#metric", "0")
    assert opened.page.is_hidden("#bar")
    assert "no cell has a finite value" in opened.text("#marks")
    texts = opened.page.evaluate("() => numbersOf([1e-7, 0.12, 123])")
    assert texts == ["1e\N{MINUS SIGN}7", "1.2e\N{MINUS SIGN}1", "1.23e2"]
    assert opened.complaints == []
