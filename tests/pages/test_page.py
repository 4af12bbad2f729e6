"""Self-contained pages: content, security policy and writing to disk."""

import json
import re

import numpy as np
import pytest
from page_data import HOSTILE, census, plane, sweep

import gdjax as gd
from gdjax.errors import GdjaxError
from gdjax.pages.lesson import quantize
from gdjax.pages.page import island
from gdjax.problems.networks import Layer


def test_text_in_the_data_cannot_start_a_tag():
    written = island({"name": HOSTILE, "values": np.array([1, np.nan], "f4")})
    assert "<" not in written
    assert json.loads(written)["name"] == HOSTILE


@pytest.mark.parametrize(("given", "kind"), [(np.int64, "i4"), (np.float16, "f8"), (bool, "i4")])
def test_arrays_are_written_as_types_that_browsers_support(given, kind):
    summary = json.loads(island(np.array([[0, 1]], given)))
    assert (summary["kind"], summary["shape"]) == (kind, [1, 2])


def test_a_page_runs_only_its_own_script_and_has_no_external_links():
    html = gd.explore(sweep(HOSTILE), planes={HOSTILE: plane()}, minima=census(), name=HOSTILE).html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert len(re.findall("<script", html)) == 2
    named = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [place for place in named if not place.startswith(("#", "data:,"))] == []
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_page_that_cannot_be_written_raises_an_error_and_leaves_no_file(tmp_path):
    page = gd.explore()
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "page.html", tmp_path / "taken"):
        with pytest.raises(GdjaxError, match="could not be written"):
            page.save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "taken"]
    assert "iframe" in page._repr_html_()
    assert len(repr(page)) < 100


def test_data_beyond_the_size_limit_are_omitted_with_a_message():
    import xarray as xr

    cost = np.broadcast_to(np.float32(1), (300, 400, 200))
    runs = xr.Dataset(
        {
            "cost": (("learning_rate", "seed", "step"), cost),
            "outcome": (("learning_rate", "seed"), np.zeros((300, 400), np.int8)),
        },
        {"learning_rate": np.arange(300.0), "seed": np.arange(400), "step": np.arange(200)},
    )
    html = gd.explore(runs).html
    assert len(html) < 8e6
    displayed = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S).group(1))["sweep"]
    rest = "are shown, evenly spaced; the store contains all values."
    assert displayed["told"] == [
        "Curves show 20 of 200 records of each run.",
        f"150 of 300 values of learning rate {rest}",
        f"100 of 400 values of seed {rest}",
    ]
    assert displayed["metrics"][0]["values"]["shape"] == [150, 100, 20]
    assert [axis["whole"] for axis in displayed["axes"]] == [300, 400]
    small = json.loads(island(gd.pages.explorer._sweep(sweep(), 1000)))
    assert small["told"] == []


def test_quantized_weights_are_within_half_a_quantization_step():
    random = np.random.default_rng(0)
    layers = [
        Layer(random.normal(size=(3, n, m)), random.normal(size=(3, n)))
        for m, n in [(5, 4), (4, 2)]
    ]
    codes, scales, biases = quantize(tuple(layers))
    weights = np.concatenate([w.reshape(3, -1) for w, _ in layers], axis=1)
    spread = np.concatenate(
        [np.repeat(scales[:, :4], 5, 1), np.repeat(scales[:, 4:], 4, 1)], axis=1
    )
    assert np.all(abs(codes * spread - weights) <= spread / 2 + 1e-12)
    np.testing.assert_array_equal(biases, np.concatenate([b for _, b in layers], axis=1))
