"""The explorer in a notebook: its selection in Python, and in a JupyterLab in a browser."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

import gdjax as gd
from gdjax.pages.notebook import selection_of

RATES = [0.01, 0.04]
BEGIN = """import gdjax as gd
runs = gd.open_dataset("runs.zarr")
view = gd.explore(runs)
view"""
ASK = """import json
print(json.dumps([view.selection.box, view.selection.mask.values.ravel().tolist()]))
view.zoom(to="zoomed.zarr", points=4)
view.refine(to="finer.zarr"); print("refined")"""


def small_sweep(rates, store):
    grid = gd.axes(learning_rate=rates, seed=range(2))
    return gd.sweep(gd.problems.from_function("himmelblau"), grid, 20, record_every=5, store=store)


def test_selected_positions_are_those_of_the_shown_runs(tmp_path):
    runs = small_sweep(RATES, tmp_path / "runs.zarr")
    view = gd.explore(runs)
    assert not view.selection.mask.any()
    indices = {"learning_rate": np.array([1]), "seed": np.array([0, 1])}
    selection = selection_of(runs.outcome, indices, [1, 7, -1])
    assert selection.box == {"learning_rate": [0.04], "seed": [1]}
    assert selection.mask.values.tolist() == [[False, False], [False, True]]
    assert runs.sel(selection.box).outcome.size == 1


def test_a_page_without_a_selection_or_a_store_cannot_be_refined(tmp_path):
    with pytest.raises(gd.errors.InputError, match="the page has no runs"):
        gd.explore().refine(to=tmp_path / "finer.zarr")
    with pytest.raises(gd.errors.InputError, match="have no store"):
        gd.explore(small_sweep(RATES, None)).refine(to=tmp_path / "finer.zarr")
    view = gd.explore(small_sweep(RATES, tmp_path / "runs.zarr"))
    with pytest.raises(gd.errors.InputError, match="select runs"):
        view.refine(to=tmp_path / "finer.zarr")


def test_marimo_shows_the_widget_of_a_page():
    anywidget = pytest.importorskip("anywidget", reason="needs anywidget")
    view = gd.explore(small_sweep(RATES, None))
    assert isinstance(view._display_(), anywidget.AnyWidget)
    assert view._display_() is view._display_()


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab on a free port; return its URL."""
    pytest.importorskip("jupyterlab", reason="needs jupyterlab")
    pytest.importorskip("anywidget", reason="needs anywidget")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cells = [
        {"cell_type": "code", "id": f"c{k}", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None}
        for k, source in enumerate([BEGIN, ASK])
    ]  # fmt: skip
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "own.ipynb").write_text(json.dumps(content))
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=",
               f"--ServerApp.root_dir={tmp_path}"]  # fmt: skip
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options], stdout=log, stderr=log,
        cwd=tmp_path, env={**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config")},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/api").read()
                break
            except OSError:
                time.sleep(0.5)
        yield f"{url}/lab/tree/own.ipynb"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


@pytest.mark.long
def test_a_brush_in_jupyterlab_is_read_in_the_kernel_and_refined(browser, lab, tmp_path):
    small_sweep(RATES, tmp_path / "runs.zarr")
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.goto(lab)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    frame = page.frame_locator("iframe[title='gdjax explore']")
    frame.locator("#map").wait_for(timeout=60_000)
    frame.locator("#map").focus()
    for key in ("ArrowRight", "Enter"):  # the larger learning rate, first seed
        page.keyboard.press(key)
    frame.locator("#runs-told", has_text="learning rate 0.04").wait_for(timeout=20_000)
    page.wait_for_timeout(1500)
    page.locator(".jp-Notebook .jp-Cell").nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("refined", exact=True).wait_for(timeout=60_000)
    told = page.locator(".jp-OutputArea-output", has_text="learning_rate").last.text_content()
    box, mask = json.loads(re.search(r"\[\{.*\]\]", told).group(0))
    assert box == {"learning_rate": [0.04], "seed": [0]}
    assert mask == [False, False, True, False]
    finer = gd.open_dataset(tmp_path / "finer.zarr").sortby("learning_rate")
    assert finer.learning_rate.values.tolist() == [0.01, 0.025, 0.04]
    offline = small_sweep([0.01, 0.025, 0.04], tmp_path / "offline.zarr")
    np.testing.assert_array_equal(finer.cost.values, offline.cost.values)
    zoomed = gd.open_dataset(tmp_path / "zoomed.zarr")
    assert zoomed.outcome.shape == (5, 1)
    np.testing.assert_array_equal(zoomed.cost.values[::2], offline.cost.values[:, :1])
