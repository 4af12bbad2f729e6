"""The command `gdjax train`: output, files and exit status."""

import dataclasses
import importlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gdjax import data
from gdjax.cli import main
from gdjax.descent import RECIPES

FIGURES = {"learning", "confusion", "wrong", "weights"}


def start(folder, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "gdjax", "train", *more, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder.parent,
    )


@pytest.mark.long
def test_the_default_run_reaches_92_percent_accuracy_outside_the_repository(tmp_path):
    """The test accuracy is at least 92 %; parameters and figures are written."""
    run = start(tmp_path / "out")
    printed, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
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


@pytest.fixture
def few_images(monkeypatch):
    """Load only the first 300 images of the training set and of the test set."""
    complete = data.load

    def load(name):
        images = complete(name)
        return images._replace(
            train_images=images.train_images[:300],
            train_labels=images.train_labels[:300],
            test_images=images.test_images[:300],
            test_labels=images.test_labels[:300],
        )

    monkeypatch.setattr(data, "load", load)


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ("--batch-size full --epochs 3", 3),
        ("--num-steps 7 --optimizer adam --widths 8 --activation tanh --learning-rate 0.01", 7),
    ],
)
@pytest.mark.usefixtures("keep_devices", "few_images", "empty_figures")
def test_flags_set_the_numbers_of_steps_and_parameters(arguments, steps, tmp_path):
    main(f"train {arguments} --out {tmp_path}".split())
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["num_steps"] == steps
    assert summary["final_cost"] < summary["initial_cost"]
    if "--widths" in arguments:
        assert summary["parameter_count"] == 784 * 8 + 8 + 8 * 10 + 10


@pytest.mark.long
@pytest.mark.usefixtures("keep_devices", "few_images")
def test_flags_take_precedence_over_a_recipe(tmp_path, capsys):
    main(f"train --recipe best --batch-size 16 --num-steps 5 --out {tmp_path}".split())
    summary = json.loads((tmp_path / "summary.json").read_text())
    best = RECIPES["best"]
    assert summary["problem"]["distortion"] == dataclasses.asdict(best.distortion)
    recorded = " ".join(capsys.readouterr().out.split())
    assert f"{best.epochs} epochs in batches of 16; rate {best.learning_rate:g}" in recorded
    assert f"{best.distortion.copies} copies of each image" in recorded
    assert all((tmp_path / f"{name}.png").stat().st_size for name in FIGURES)


@pytest.mark.usefixtures("keep_devices")
def test_a_batch_larger_than_the_data_set_is_rejected_before_augmentation(
    tmp_path, capsys, monkeypatch
):
    def never(images, distortion):
        raise AssertionError("augmented before the batch size was validated")

    monkeypatch.setattr(importlib.import_module("gdjax.problems.digits"), "distorted", never)
    for recipe, most in (("plain", 4_000), ("best", 40_000)):
        batch = ["--recipe", recipe, "--batch-size", str(most + 1)]
        with pytest.raises(SystemExit) as stopped:
            main(["train", *batch, "--out", str(tmp_path / "out")])
        assert stopped.value.code == 2
        assert f"--batch-size {most + 1}: expected at most {most}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.usefixtures("keep_devices", "few_images", "empty_figures")
def test_augmentation_does_not_change_the_length_of_an_epoch(tmp_path):
    for recipe in ("plain", "quick"):
        arguments = ["--epochs", "1", "--batch-size", "50", "--learning-rate", "1"]
        main(["train", "--recipe", recipe, *arguments, "--out", str(tmp_path)])
        assert json.loads((tmp_path / "summary.json").read_text())["num_steps"] == 300 // 50


@pytest.mark.long
def test_ctrl_c_saves_the_parameters_and_exits_with_status_130(tmp_path):
    run = start(tmp_path / "out", "--num-steps", "2000000000")
    deadline = time.monotonic() + 120
    while not (tmp_path / "out").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert "interrupted after" in errors
    assert (tmp_path / "out" / "params.npz").is_file()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["num_steps"] < 2_000_000_000
