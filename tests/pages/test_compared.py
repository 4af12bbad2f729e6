"""Sweeps compared, branches with their parent run, and regions computed with more values."""

from types import SimpleNamespace

import numpy as np
import pytest
from browsing import PHONE, OpenedPage
from page_data import HOSTILE
from test_settings import data_of, seeded_runs

import gdjax as gd
from gdjax.base import statistics

RATES, MOMENTA = [0.001, 0.002, 0.004], [0.0, 0.5, 0.75]


def shifted_runs(shift):
    """Return runs with larger costs at the smallest learning rate, with fewer seeds."""
    runs = seeded_runs().isel(seed=slice(2, None))
    noise = np.random.default_rng(3).normal(0, 0.1, runs.cost.shape[:-1])
    change = np.array([shift, 0.0, 0.0])[:, None, None] + noise
    return runs.assign(cost=runs.cost + change[..., None].astype("f4"))


@pytest.fixture(scope="module")
def sweeps():
    first, second = seeded_runs(), shifted_runs(1.0)
    first.encoding["source"], second.encoding["source"] = "a.zarr", "b.zarr"
    return {"adam": first, HOSTILE: second}


def small_sweep(store, rates=RATES, momenta=MOMENTA, **options):
    grid = gd.axes(learning_rate=rates, momentum=momenta, seed=[0])
    problem = gd.problems.from_function("himmelblau")
    return gd.sweep(problem, grid, 20, record_every=5, store=store, **options)


def selecting(view, *flat):
    """Return a view in which runs are selected, as if the notebook had told it."""
    view._widgets.append(SimpleNamespace(selected=[*flat]))
    return view


def test_differences_of_two_sweeps_are_those_of_equal_settings_and_seeds(browser, sweeps, tmp_path):
    page = gd.explore(sweeps, name="two")
    visit = OpenedPage(browser, page.save(tmp_path / "page.html"))
    first, second = sweeps["adam"].cost, sweeps[HOSTILE].cost
    d = (first.sel(seed=second.seed).isel(step=-1) - second.isel(step=-1)).values.astype(float)
    rows = visit.page.evaluate(
        "() => [0, 1, 2, 3].map((s) => { const runs = (k) => explored.members[2 * s + k];"
        "const {estimate, low, high} = explored.paired(0, runs(0), runs(1), explored.last);"
        "return [estimate, low, high]; })"
    )
    for values, row in zip(d.reshape(6, 14), rows, strict=False):  # the others diverge
        np.testing.assert_allclose(row, statistics.hodges_lehmann(values)[:3], rtol=1e-9)
    assert "Hatched: the 95 % interval contains 0" in visit.text("#map-caption")
    assert "14 of the 16 values of seed in adam are in all sweeps" in visit.text("#thinned")
    assert visit.page.locator("#axis-x option:checked").text_content() == "learning rate"
    visit.page.select_option("#differences", "-1")
    visit.click("#map", 0.3, 0.2)
    assert " a.zarr " in visit.text("#command")
    run = "explored.members[1][0]"
    command = visit.page.evaluate(f"() => replayCommand(explored, {run})")
    assert command == "gdjax replay b.zarr --at learning_rate=0.001 momentum=0 seed=2"
    text = visit.page.evaluate(f"() => pythonSelection(explored, [{run}])")
    scope = {"view": page}
    exec(text, scope)
    np.testing.assert_array_equal(scope["selected"].cost.squeeze(), second[0, 0, 0])
    assert visit.page.is_hidden("#finer")
    assert visit.page.evaluate("() => window.broken") is None
    visit.check_errors_and_accessibility()
    narrow = OpenedPage(browser, tmp_path / "page.html", PHONE)
    assert narrow.page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda runs: None, "expected a Dataset of a sweep"),
        (lambda runs: runs.to_dataframe(), "joined with pandas.concat"),
        (lambda runs: runs.isel(momentum=0), "expected the same axes"),
        (lambda runs: runs.assign_coords(seed=runs.seed + 100), "no values of seed in common"),
        (lambda runs: runs.rename(seed="sweep"), "an axis named sweep"),
    ],
)
def test_sweeps_that_cannot_be_compared_are_refused(change, message):
    with pytest.raises(gd.errors.InputError, match=message):
        gd.explore({"a": seeded_runs(), "b": change(seeded_runs())})


def test_branches_are_joined_to_the_run_that_they_left(browser, tmp_path):
    runs = small_sweep(tmp_path / "runs", rates=RATES[:2])
    at = {"learning_rate": 0.002, "momentum": 0.5, "seed": 0}
    axes = gd.axes(branch_step=[10], learning_rate=RATES, momentum=[0.0, 0.75])
    branches = gd.branch(tmp_path / "runs", at, axes)
    page = gd.explore(branches, parent=tmp_path / "runs")
    parent = data_of(page)["parent"]
    assert (parent["name"], parent["at"]) == ("learning rate 0.002, momentum 0.5, seed 0", at)
    visit = OpenedPage(browser, page.save(tmp_path / "page.html"))
    expected = runs.cost.sel(at)
    shown = visit.page.evaluate("() => [...DATA.sweep.parent.metrics.cost]")
    np.testing.assert_array_equal(shown, expected)
    dashed = visit.page.locator("#curve-cost path[stroke-dasharray='6 4']")
    assert dashed.get_attribute("d").count("L") == expected.step.size - 1
    before = visit.page.locator("#curve-cost path[stroke='#b3420a']").count()
    visit.click("#map", 0.5, 0.3)
    chosen = visit.page.locator("#curve-cost path[stroke='#b3420a']").get_attribute("d")
    assert before == 0
    # Records at steps 10, 15 and 20, and the last record of the parent.
    assert chosen.count("L") == 3
    assert dashed.get_attribute("d").split("L")[2] in chosen
    assert "Dashed: the run that the branches left" in visit.text("#curve-told")
    visit.check_errors_and_accessibility()
    with pytest.raises(gd.errors.InputError, match="parent is not a sweep"):
        gd.explore(runs, parent=runs)


def test_a_pixel_has_the_same_bits_at_every_zoom(tmp_path):
    view = selecting(gd.explore(small_sweep(tmp_path / "runs")), 0, 1, 3, 4)
    deep = selecting(view.zoom(points=5, to=tmp_path / "zoomed"), 0, 1, 5, 6).zoom(points=5)
    whole = view.zoom(points=17).runs
    shared = whole.sel(learning_rate=deep.runs.learning_rate, momentum=deep.runs.momentum)
    np.testing.assert_array_equal(shared.cost, deep.runs.cost)
    assert shared.cost.size == 5 * 5 * 5
    again = selecting(gd.explore(tmp_path / "zoomed"), 0).zoom(points=3)
    assert again.runs.attrs["bits_checked"] != "false"
    offline = small_sweep(None, again.runs.learning_rate.values, again.runs.momentum.values)
    np.testing.assert_array_equal(again.runs.cost, offline.cost)


def test_a_zoom_says_where_bits_differ_and_stops_where_numbers_are_equal(tmp_path):
    runs = small_sweep(tmp_path / "runs", rates=[0.001, np.nextafter(np.float32(0.001), 1)])
    with pytest.raises(gd.errors.InputError, match="drag over cells"):
        gd.explore(runs).zoom()
    with pytest.raises(gd.errors.InputError, match="could not tell apart"):
        selecting(gd.explore(runs.isel(momentum=[0])), 0, 1).zoom()
    changed = runs.assign(cost=runs.cost + 1)
    changed.encoding["source"] = str(tmp_path / "runs")
    page = selecting(gd.explore(changed), 0, 1).zoom(points=3)
    assert "last bits of a run may depend on the other runs" in data_of(page)["about"]["words"]
    with pytest.raises(gd.errors.InputError, match="have no store"):
        selecting(gd.explore(small_sweep(None)), 0).zoom()


def test_a_drag_over_the_map_selects_the_runs_of_a_rectangle(browser, tmp_path):
    visit = OpenedPage(browser, gd.explore(seeded_runs()).save(tmp_path / "page.html"))
    visit.drag("#map", (0.6, 0.6), (0.9, 0.1))
    assert visit.page.evaluate("() => explored.selectedRuns().length") == 4 * 16
    visit.drag("#map", (0.2, 0.6), (0.22, 0.6))
    assert visit.page.evaluate("() => explored.selectedRuns().length") == 16
    assert visit.complaints == []
