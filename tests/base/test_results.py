"""Folders of results, and contents of summaries."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from gdjax.base import results
from gdjax.base.errors import GdjaxError, InputError


@dataclass(frozen=True)
class Config:
    """A configuration similar to those of commands."""

    rate: float = 0.1
    widths: tuple[int, ...] = (16, 16)
    out: Path | None = None


def test_each_config_has_a_folder_that_does_not_depend_on_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = results.folder("train", Config(), None)
    assert first.is_dir()
    assert first == Path("results/train") / results.digest(Config(out=tmp_path))
    assert results.folder("train", Config(rate=0.2), None) != first


def test_a_folder_that_cannot_be_created_is_named_in_the_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--out = .*file/below"):
        results.folder("train", Config(), tmp_path / "file" / "below")


def test_the_summary_is_strict_json_with_config_versions_and_numbers(tmp_path):
    numbers = {"cost": np.float32(np.inf), "steps": np.int64(3), "curve": np.array([1.0, np.nan])}
    results.write_summary(tmp_path, "train", Config(), numbers)
    text = (tmp_path / "summary.json").read_text()
    result = json.loads(text, parse_constant=pytest.fail)
    assert result["config"] == {"rate": 0.1, "widths": [16, 16], "out": None}
    assert (result["cost"], result["steps"], result["curve"]) == ("inf", 3, [1.0, "nan"])
    assert {"python", "gdjax", "jax", "optax", "numpy"} <= set(result["versions"])
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


class FullDisk:
    """Object whose methods to save data or a figure fail as on a full disk."""

    def to_zarr(self, *_, **settings):
        raise OSError(28, "No space left on device")

    savefig = to_zarr


def test_a_full_disk_raises_an_error_with_advice_and_the_old_file_is_kept(tmp_path, monkeypatch):
    file = tmp_path / "summary.json"
    file.write_text("old")
    monkeypatch.setattr(Path, "replace", FullDisk.to_zarr)
    advice = r"summary\.json: could not be written \(No space.*with --out"
    for save, saved in (
        (results.save_data, FullDisk()),
        (results.save_figure, FullDisk()),
        (lambda text, file: results.write(file, text), "new"),
    ):
        with pytest.raises(GdjaxError, match=advice):
            save(saved, file)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_a_large_figure_is_saved_in_256_colors(tmp_path):
    def saved(side):
        figure = Figure(figsize=(6, 6), facecolor="white")
        axes = figure.add_axes((0.05, 0.05, 0.9, 0.9))
        axes.imshow(np.random.default_rng(0).random((side, side)), interpolation="nearest")
        axes.plot(side / 2, side / 2, "*", color="magenta", markersize=20)
        results.save_figure(figure, tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as image:
            return image.copy()

    assert saved(4).mode == "RGBA"
    large = saved(810)
    assert (large.mode, large.size) == ("P", (900, 900))
    assert large.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    # A marker keeps its color even if no other pixels have this color.
    np.testing.assert_allclose(large.convert("RGB").getpixel((450, 450)), (255, 0, 255), atol=10)
