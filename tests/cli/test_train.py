"""The command `gdjax train`: output, files and exit status."""

import dataclasses
import json

import numpy as np
import pytest

from gdjax import data
from gdjax.cli import main, train
from gdjax.descent import RECIPES
from tests.processes import python

FIGURES = {"learning", "confusion", "wrong", "weights"}


@pytest.mark.long
def test_the_default_run_reaches_92_percent_accuracy_outside_the_repository(tmp_path):
    printed = python("-m", "gdjax", "train", "--out", tmp_path / "out", cwd=tmp_path).stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["parameter_count"] == 13_002
    assert summary["final_test_accuracy"] >= 0.92
    assert summary["final_cost"] < summary["baseline_cost"] == pytest.approx(0.9)
    assert summary["num_steps"] == 30 * 125
    assert summary["outcome"] == "not_converged"
    assert summary["problem"]["hash"]
    assert set(summary["seconds"]) == {"compile", "run"}
    assert "13,002 parameters" in printed
    with np.load(tmp_path / "out" / "params.npz") as params:
        assert sum(params[name].size for name in params) == 13_002
        assert params["params.0.weights"].shape == (16, 784)
    assert {p.stem for p in (tmp_path / "out").glob("*.png")} == FIGURES


@pytest.mark.parametrize(
    ("epochs", "batch_size", "cadence"), [(30, 4, 50), (31, 4, 100), (2, None, 1), (80, None, 20)]
)
def test_records_are_at_most_30_epochs_or_200_steps(epochs, batch_size, cadence):
    assert train._cadence(epochs * 50, 50, batch_size) == cadence


@pytest.fixture
def few_images(monkeypatch):
    """Load only the first 300 images of the training set and of the test set."""
    images = data.load("mnist5k")
    parts = ("train_images", "train_labels", "test_images", "test_labels")
    few = images._replace(**{part: getattr(images, part)[:300] for part in parts})
    monkeypatch.setattr(data, "load", lambda _name: few)


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ("--batch-size 100 --epochs 2", 6),
        ("--num-steps 7 --optimizer adam --widths 8 --activation tanh --learning-rate 0.01", 7),
    ],
)
@pytest.mark.usefixtures("few_images", "empty_figures")
def test_flags_set_the_numbers_of_steps_and_parameters(arguments, steps, tmp_path, capsys):
    main(f"train {arguments} --out {tmp_path}".split())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_steps"] == steps
    assert summary["final_cost"] < summary["initial_cost"]
    if "--widths" in arguments:
        assert summary["parameter_count"] == 784 * 8 + 8 + 8 * 10 + 10
    else:  # three batches per epoch
        rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
        assert ["1.0", "3"] in rows
        assert ["2.0", "6"] in rows


@pytest.mark.long
@pytest.mark.usefixtures("few_images")
def test_flags_take_precedence_over_a_recipe(tmp_path, capsys):
    main(f"train --recipe best --batch-size 16 --num-steps 5 --out {tmp_path}".split())
    summary = json.loads((tmp_path / "summary.json").read_text())
    best = RECIPES["best"]
    assert summary["problem"]["distortion"] == dataclasses.asdict(best.distortion)
    recorded = " ".join(capsys.readouterr().out.split())
    assert f"{best.epochs} epochs in batches of 16; rate {best.learning_rate:g}" in recorded
    assert f"{best.distortion.copies} copies of each image" in recorded
    assert all((tmp_path / f"{name}.png").stat().st_size for name in FIGURES)


@pytest.mark.long
@pytest.mark.usefixtures("few_images", "empty_figures")
def test_augmentation_does_not_change_the_length_of_an_epoch(tmp_path):
    for recipe in ("plain", "quick"):
        arguments = ["--epochs", "1", "--batch-size", "50", "--learning-rate", "1"]
        main(["train", "--recipe", recipe, *arguments, "--out", str(tmp_path)])
        assert json.loads((tmp_path / "summary.json").read_text())["num_steps"] == 300 // 50
