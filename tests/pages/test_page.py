"""Self-contained pages and the command `gdjax explore`: content, security policy, errors."""

import json
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from page_data import HOSTILE, census, plane, sweep

import gdjax as gd
from gdjax.cli import main
from gdjax.pages.lesson import quantize
from gdjax.pages.page import island


def test_text_in_the_data_cannot_start_a_tag():
    written = island({"name": HOSTILE, "values": np.array([1, np.nan], "f4")})
    assert "<" not in written
    assert json.loads(written)["name"] == HOSTILE
    with pytest.raises(ValueError, match="not JSON compliant"):
        island({"cost": float("nan")})


@pytest.mark.parametrize(("given", "kind"), [(np.int64, "i4"), (np.float16, "f8"), (bool, "i4")])
def test_arrays_are_written_as_types_that_browsers_support(given, kind):
    summary = json.loads(island(np.array([[0, 1]], given)))
    assert (summary["kind"], summary["shape"]) == (kind, [1, 2])


def test_a_page_runs_only_its_own_script_and_has_no_external_links():
    html = gd.explore(sweep(HOSTILE), planes={HOSTILE: plane()}, minima=census(), name=HOSTILE).html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "worker-src" not in policy  # a page without a worker cannot start one
    assert len(re.findall("<script", html)) == 2
    named = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [place for place in named if not place.startswith(("#", "data:,"))] == []
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_a_page_that_cannot_be_written_raises_an_error_and_leaves_no_file(tmp_path):
    page = gd.explore()
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "nowhere" / "page.html", tmp_path / "taken"):
        with pytest.raises(gd.errors.GdjaxError, match="could not be written"):
            page.save(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "taken"]
    assert "iframe" in page._repr_html_()
    assert len(repr(page)) < 100


def test_data_beyond_the_size_limit_are_omitted_with_a_message():
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
    displayed = data_of(html)["sweep"]
    rest = "are shown, evenly spaced; the store contains all values."
    assert displayed["told"] == [
        "Curves show 8 of 200 records of each run.",
        f"200 of 400 values of seed {rest}",
    ]
    assert displayed["metrics"][0]["values"]["shape"] == [300, 200, 8]
    assert [axis["whole"] for axis in displayed["axes"]] == [300, 400]


def data_of(html):
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.S).group(1))


def test_quantized_weights_are_within_half_a_quantization_step():
    random = np.random.default_rng(0)
    layers = [
        gd.problems.Layer(random.normal(size=(3, n, m)), random.normal(size=(3, n)))
        for m, n in [(5, 4), (4, 2)]
    ]
    codes, scales, biases = quantize(tuple(layers))
    weights = np.concatenate([w.reshape(3, -1) for w, _ in layers], axis=1)
    spread = np.concatenate(
        [np.repeat(scales[:, :4], 5, 1), np.repeat(scales[:, 4:], 4, 1)], axis=1
    )
    assert np.all(abs(codes * spread - weights) <= spread / 2 + 1e-12)
    np.testing.assert_array_equal(biases, np.concatenate([b for _, b in layers], axis=1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "runs.zarr"
    grid = gd.axes(learning_rate=[0.001, 0.01], seed=range(2))
    gd.sweep(gd.problems.from_function("himmelblau"), grid, 20, record_every=5, store=path)
    return path


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as raised:
        main(list(arguments))
    assert raised.value.code == 2
    summary = capsys.readouterr().err
    assert summary.count("\n") == 1
    return summary


def test_explore_writes_a_page_for_a_store(store, tmp_path, capsys):
    main(["explore", str(store), "--out", str(tmp_path / "page.html")])
    assert f"written to {tmp_path / 'page.html'} (" in capsys.readouterr().out
    assert '"whole":2' in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_damaged_tiles_are_skipped_on_request(store, tmp_path, capsys):
    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(store, damaged)
    (file,) = (damaged / "cost").glob("c.*")
    file.write_bytes(b"")
    out = str(tmp_path / "page.html")
    assert "is damaged" in refused(capsys, "explore", str(damaged), "--out", out)
    main(["explore", str(damaged), "--skip-damaged", "--out", out])
    assert "0 of 1 tiles are finished" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_saved_landscapes_and_minima_are_read(tmp_path, capsys):
    xr.DataTree.from_dict({"trajectory": plane(), "random": plane()[["cost"]]}).to_zarr(
        tmp_path / "planes.zarr", zarr_format=3, consolidated=False
    )
    census().to_zarr(tmp_path / "data.zarr", zarr_format=3, consolidated=False)
    options = ["--planes", str(tmp_path / "planes.zarr"), "--minima", str(tmp_path / "data.zarr")]
    main(["explore", *options, "--out", str(tmp_path / "page.html")])
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"title":"trajectory"' in html
    assert '"ended":10' in html


class CodeOnUnpickling:
    """Object that creates a file when unpickled, to detect unpickling by a command."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("flag", ["--planes", "--minima"])
@pytest.mark.parametrize("pickled", [True, False])
def test_a_folder_of_format_2_is_rejected_without_unpickling(tmp_path, capsys, flag, pickled):
    folder, done = tmp_path / "old.zarr", tmp_path / "done"
    (folder / "cost").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    described = {
        "zarr_format": 2, "shape": [1], "chunks": [1], "fill_value": None, "order": "C",
        "compressor": None, "dtype": "|O" if pickled else "<f4",
        "filters": [{"id": "pickle", "protocol": 5}] if pickled else None,
    }  # fmt: skip
    (folder / "cost" / ".zarray").write_text(json.dumps(described))
    (folder / "cost" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["a"]}')
    (folder / "cost" / "0").write_bytes(
        pickle.dumps(CodeOnUnpickling(done)) if pickled else bytes(4)
    )
    assert "is not a folder written by `gdjax`" in refused(capsys, "explore", flag, str(folder))
    assert not done.exists()
