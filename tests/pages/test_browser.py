"""The explorer in a browser: the user's actions, and numbers compared with gdjax."""

import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from browsing import PHONE, OpenedPage
from page_data import HOSTILE, census, plane, sweep
from PIL import Image

import gdjax as gd
from gdjax.cli.options import parse_at
from tests.processes import python


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    planes = {HOSTILE: plane(), "without a trajectory": plane()[["cost"]]}
    runs = sweep(HOSTILE)
    runs.encoding["source"] = HOSTILE  # as of a store
    explorer = gd.explore(runs, planes=planes, minima=census(), name=HOSTILE)
    return {"explore": explorer.save(folder / "explore.html")}


@pytest.fixture(scope="module")
def explorer(browser, pages):
    return OpenedPage(browser, pages["explore"])


def test_text_in_the_data_is_escaped(explorer):
    assert explorer.page.evaluate("() => window.broken") is None
    assert explorer.page.locator("img").count() == 0
    assert HOSTILE in explorer.text("#lead")
    assert explorer.text("#metric option") == HOSTILE
    assert explorer.text("#title") == "24 descents"


def test_a_click_or_key_on_a_cell_shows_its_value_and_its_runs(explorer):
    explorer.page.select_option("#metric", "0")
    explorer.click("#map", 0.9, 0.12)  # largest rate, last seed
    assert explorer.text("#runs-told") == "learning rate 10, seed 3: 2 diverged."
    assert explorer.page.locator("#curve-cost path[stroke='#b3420a']").count() == 1
    assert explorer.text("#cell-told").startswith("learning rate 10; seed 3; ")
    assert explorer.text("#cell-told").endswith("median of 2 runs: ∞; 2 diverged.")
    explorer.keys("#map", "ArrowLeft")
    assert explorer.text("#cell-told").startswith("learning rate 1; seed 3; ")
    explorer.keys("#map", *["ArrowLeft"] * 3, *["ArrowDown"] * 4, "Enter")
    assert explorer.text("#runs-told").startswith("learning rate 0.1, seed 0: 1 ")
    explorer.keys("#map", "ArrowRight", "Shift+Enter")
    assert explorer.text("#runs-told").startswith("seed 0: 3 not converged")
    explorer.page.mouse.move(*explorer.place("#map", 0.9, 0.12))
    assert "learning rate 10" in explorer.text(".tip")
    assert "median of 2 runs: ∞" in explorer.text(".tip")


def test_medians_and_quartiles_per_setting_equal_those_of_numpy(explorer):
    runs = sweep()
    explorer.page.select_option("#metric", "0")
    explorer.page.select_option("#curves", "settings")
    assert explorer.text("#curve-key").count("learning rate") == 3
    assert explorer.page.locator("#curve-cost path.band").count() == 3
    bands = explorer.page.evaluate(
        """() => [0, 1, 2].map((i) => {
          const runs = [0, 1, 2, 3, 4, 5, 6, 7].map((k) => 8 * i + k);
          const found = bandOf(DATA.sweep.metrics[0].values, 5, runs);
          return [found.low, found.middle, found.high].map((v) => Array.from(v));
        })"""
    )
    cost = runs.cost.values.reshape(3, 8, 5)
    expected = np.quantile(cost, [0.25, 0.5, 0.75], axis=1, method="inverted_cdf")
    np.testing.assert_array_equal(bands, expected.transpose(1, 0, 2))
    explorer.page.select_option("#curves", "runs")
    assert explorer.page.locator("#curve-cost path.band").count() == 0
    assert not explorer.page.is_visible("#curve-key")


def test_the_command_of_a_cell_replays_its_median_run(browser, pages, explorer):
    explorer.page.select_option("#metric", "0")
    explorer.click("#map", 0.9, 0.5)
    words = shlex.split(explorer.text("#command"))
    assert words[:4] == ["gdjax", "replay", HOSTILE, "--at"]
    at = parse_at(tuple(words[4:]))
    cost = sweep().cost.isel(step=-1)
    cell = cost.sel(learning_rate=at["learning_rate"], seed=at["seed"])
    assert cell.sel(momentum=at["momentum"]) == cell.quantile(0.5, method="inverted_cdf")
    explorer.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    explorer.click("#copy")
    explorer.page.wait_for_function("() => byId('command-told').textContent === 'Copied.'")
    copied = explorer.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == explorer.text("#command")


def test_a_map_of_outcomes_has_colors_a_caption_and_a_command(browser, explorer, tmp_path):
    explorer.page.select_option("#metric", "2")
    explorer.click("#map", 0.9, 0.12)
    caption = "How runs ended: the most common outcome of the 2 runs of a cell."
    assert explorer.text("#map-caption") == caption
    assert explorer.page.locator("#marks i").count() == 3
    assert explorer.text("#command").endswith("learning_rate=10 seed=3 momentum=0")
    explorer.page.select_option("#metric", "0")
    runs = sweep().assign_coords(momentum=[False, True], learning_rate=[1e-7, 0.123456, 123456.0])
    runs.encoding["source"] = "a"
    visit = OpenedPage(browser, gd.explore(runs).save(tmp_path / "page.html"))
    visit.keys("#others input", "End")
    assert visit.text("#others strong") == "true"
    visit.click("#map", 0.9, 0.12)
    assert parse_at(tuple(visit.text("#command").split()[4:]))["momentum"] == 1
    assert explorer.complaints == visit.complaints == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a=1", "a=1"), ("it's", "'it'\\''s'"), ("$(reboot); x", "'$(reboot); x'"),
        ("a\n reboot", None), ("\x1b[2J", None),
    ],
)  # fmt: skip
def test_command_arguments_are_quoted_for_the_shell(explorer, text, word):
    assert explorer.page.evaluate("(text) => shellWord(text)", text) == word


def test_the_map_is_saved_as_a_picture_and_the_runs_as_a_table(explorer, tmp_path):
    explorer.keys("#time", "End")
    for button, name in (("#save-png", "map.png"), ("#save-csv", "runs.csv")):
        with explorer.page.expect_download() as download:
            explorer.page.click(button)
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
    with Image.open(tmp_path / "map.png") as picture:
        assert min(picture.size) > 100
        assert len(picture.convert("RGB").getcolors(10**6)) > 20
    table = pd.read_csv(tmp_path / "runs.csv")
    runs = sweep()
    names = ["learning_rate", "seed", "momentum", "step", "cost", "test_accuracy", "outcome"]
    assert list(table) == [*names, "selected"]
    written = table.cost.astype(np.float32)
    np.testing.assert_array_equal(written, runs.cost.values[..., -1].ravel())
    assert max(len(str(v)) for v in table.cost) < 14  # no digits that float32 does not have
    assert sorted(set(table.outcome)) == ["diverged", "not converged", "not finished"]


def test_text_in_a_saved_table_cannot_be_a_spreadsheet_formula(explorer):
    options = ["=1+1", "a,b", 'say "a"', -2.5]
    expected = ["'=1+1", '"a,b"', '"say ""a"""', "-2.5"]
    assert explorer.page.evaluate("(given) => given.map(csvField)", options) == expected


def test_the_map_changes_with_step_sliders_and_axes(explorer):
    explorer.keys("#time", "End")
    before = explorer.picture("#map")
    explorer.keys("#time", "Home")
    assert explorer.text("#time-told") == "0"
    assert explorer.picture("#map") != before
    explorer.keys("#time", "End")
    assert explorer.picture("#map") == before
    explorer.keys("#others input", "End")
    assert explorer.text("#others strong") == "0.9"
    assert "median" not in explorer.text("#map-caption")
    explorer.page.select_option("#axis-y", "2")
    assert "seed" in explorer.text("#others")
    explorer.page.select_option("#axis-y", "1")


def test_brushing_a_range_shows_the_number_of_its_runs(explorer):
    cost = "#strips figure:nth-child(1) canvas"
    explorer.drag(cost, (0.93, 0.3), (0.999, 0.3))  # infinite values are at the right end
    assert "2 of 24 runs are in the brushed range" in explorer.text("#runs-told")
    explorer.keys(cost, "Escape")
    assert "brushed" not in explorer.text("#runs-told")
    explorer.keys(cost, "ArrowLeft", "Shift+ArrowRight")
    assert "brushed" in explorer.text("#runs-told")


def test_a_landscape_rotates_and_its_descent_follows_the_slider(explorer):
    figures = [explorer.picture("#surface")]
    explorer.drag("#surface", (0.5, 0.5), (0.7, 0.4))
    figures.append(explorer.picture("#surface"))
    explorer.keys("#surface", "ArrowLeft", "+")
    figures.append(explorer.picture("#surface"))
    explorer.keys("#moment", "Home")
    assert explorer.text("#moment-told") == "0"
    figures.append(explorer.picture("#surface"))
    assert len(set(figures)) == 4
    expected = "At step 0 the cost of the descent is 3.4, that of its projection onto the plane 2.9"
    assert expected in explorer.text("#landscape-told")
    explorer.page.select_option("#plane", "1")
    assert "descent" not in explorer.text("#landscape-told")


def test_selecting_two_minima_shows_their_barrier(explorer):
    explorer.click("#minima-rows tr:nth-child(1) button")
    explorer.click("#minima-rows tr:nth-child(3) button")
    expected = "the cost rises by 1.5, after matching by 0.75. Their distance is 4"
    assert expected in explorer.text("#minima-told")
    explorer.keys("#minima-map", "ArrowRight", "Enter")
    assert "the cost rises by 2.5, after matching by 1.25" in explorer.text("#minima-told")
    # Minimum 0 is at the lower left corner of the triangle.
    x, y = explorer.page.evaluate(
        "() => { const box = byId('minima-map').getBoundingClientRect();"
        "const unit = Math.min((box.width - 110) / 3, (box.height - 90) / 4);"
        "return [0.5 - (1.5 * unit) / box.width, 0.5 + (2 * unit) / box.height]; }"
    )
    explorer.click("#minima-map", x, y)
    assert "the cost rises by 0.5" in explorer.text("#minima-told")


def test_gradients_of_the_test_functions_equal_those_of_gdjax(explorer):
    known = {name: f for name, f in gd.problems.FUNCTIONS.items() if len(f.domain) == 2}
    assert explorer.page.evaluate("() => Object.keys(PLANES)") == list(known)
    share = np.random.default_rng(0).random((20, 2))
    with jax.enable_x64(True):
        for name, function in known.items():
            low, high = np.array(function.domain).T
            at = low + share * (high - low)
            value, slope = jax.jit(jax.vmap(jax.value_and_grad(function.f)))(jnp.asarray(at))
            summary = explorer.page.evaluate(
                "([name, at]) => { const {f, slope} = PLANES[name];"
                "return at.map(([x, y]) => [f(x, y), ...slope(x, y)]); }",
                [name, at.tolist()],
            )
            np.testing.assert_allclose(
                summary, np.column_stack([value, slope]), rtol=1e-11, atol=1e-11, err_msg=name
            )


@pytest.mark.parametrize(("name", "momentum"), [("himmelblau", 0.0), ("six_hump_camel", 0.9)])
def test_a_click_starts_a_descent_with_the_steps_of_gdjax(explorer, name, momentum):
    explorer.page.select_option("#function", name)
    explorer.keys("#momentum", *(["End", *["ArrowLeft"] * 9] if momentum else ["Home"]))
    assert explorer.text("#momentum-told") == (str(momentum) if momentum else "none")
    explorer.click("#plane-map", 0.62, 0.37)
    summary = explorer.page.evaluate(
        "() => { const rate = 10 ** Number(byId('rate').value);"
        "const start = tried.start(); return {rate, start, path: tried.found().path}}"
    )
    assert len(summary["path"]) == 151
    with jax.enable_x64(True):
        run = gd.descend(
            gd.problems.from_function(name),
            optax.sgd(summary["rate"], momentum=momentum or None),
            jnp.asarray(summary["start"]),
            150,
            key=jax.random.key(0),
            snapshot_every=1,
        )
    np.testing.assert_allclose(summary["path"], run.snapshots, rtol=0, atol=1e-9)
    assert "a minimum of cost" in explorer.text("#descent-told")
    explorer.keys("#plane-map", "ArrowUp")
    assert explorer.page.evaluate("() => tried.start()") != summary["start"]
    explorer.keys("#rate", "End")
    assert "diverges at step" in explorer.text("#descent-told")


def test_the_explorer_has_no_errors_and_is_accessible(explorer):
    explorer.check_errors_and_accessibility()


def test_the_explorer_fits_the_width_of_a_phone_and_a_tap_on_a_cell_shows_its_value(browser, pages):
    visit = OpenedPage(browser, pages["explore"], PHONE)
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    is_wide = (
        "({scrollWidth, parentElement: at}) => scrollWidth > at.clientWidth && at.tabIndex < 0"
    )
    tables = visit.page.evaluate(f"() => [...document.querySelectorAll('table')].filter({is_wide})")
    assert tables == []
    assert visit.complaints == []
    visit.page.select_option("#metric", "0")
    visit.page.touchscreen.tap(*visit.place("#map", 0.9, 0.12))
    assert visit.text("#cell-told").endswith("median of 2 runs: ∞; 2 diverged.")
    assert "Click a cell" not in visit.text("#runs-told")


def test_one_command_makes_a_folder_of_pages_that_load_nothing_and_store_nothing(browser, tmp_path):
    """The folder is served as it is; the lesson has at most 1.5 MB."""
    python(Path(__file__).parents[2] / "docs" / "_extensions" / "live.py", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html", "lesson.html", "explore.html"
    }  # fmt: skip
    assert (tmp_path / "lesson.html").stat().st_size <= 1_500_000
    visit = OpenedPage(browser, tmp_path / "index.html")
    for page in ("lesson.html", "explore.html"):
        assert visit.violations() == []
        visit.page.click(f"a[href='{page}']")
        visit.page.wait_for_function("() => document.querySelectorAll('canvas').length > 0")
        visit.settle()
        stored = "() => [document.cookie, localStorage.length, sessionStorage.length]"
        assert visit.page.evaluate(stored) == ["", 0, 0]
        visit.page.go_back()
    loaded = {url for url in visit.requests if not url.startswith(("data:", "blob:"))}
    assert loaded == {path.as_uri() for path in tmp_path.iterdir()}
    assert visit.complaints == []
