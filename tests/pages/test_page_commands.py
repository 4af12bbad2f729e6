"""The commands `gdjax explore` and `gdjax lesson`: pages, and one-line errors."""

import json
import pickle
from pathlib import Path

import pytest

import gdjax as gd
from gdjax.cli import main

pytestmark = pytest.mark.usefixtures("keep_devices")


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
    import shutil

    damaged = tmp_path / "damaged.zarr"
    shutil.copytree(store, damaged)
    (file,) = (damaged / "cost").glob("c.*")
    file.write_bytes(b"")
    out = str(tmp_path / "page.html")
    summary = refused(capsys, "explore", str(damaged), "--out", out)
    assert "is damaged" in summary
    main(["explore", str(damaged), "--skip-damaged", "--out", out])
    assert "0 of 1 tiles are finished" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_saved_landscapes_and_minima_are_read(tmp_path, capsys):
    import xarray as xr
    from page_data import census, plane

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
