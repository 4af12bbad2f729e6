"""The command line common to all experiments."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared import command
from experiments.shared.statistics import medians


@dataclass(frozen=True)
class Config:
    """Settings of an experiment that doubles a number."""

    times: int = 3
    """Number of doublings."""


def run(config):
    return xr.Dataset({"value": ("time", [2.0**k for k in range(config.times + 1)])})


def plot(dataset):
    return {"doubled": Figure()}


def numbers(dataset):
    return {"last": float(dataset.value[-1])}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Redirect results/ to a temporary folder, and disable process settings."""
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr("gdjax._runtime.process.configure", lambda: None)
    monkeypatch.setattr("gdjax.interrupts.end_at_ctrl_c", lambda: None)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path / "results"


def run_command(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["doubling", *arguments])
    command.main(Config, run, plot, numbers)


def last(folder):
    assert {path.name for path in folder.iterdir()} >= {"data.zarr", "summary.json", "doubled.png"}
    return json.loads((folder / "summary.json").read_text())["last"]


def test_the_default_config_writes_to_the_folder_of_the_experiment(home, monkeypatch):
    run_command(monkeypatch)
    assert last(home / "experiments") == 8


def test_another_config_writes_to_a_subfolder_of_the_experiment(home, monkeypatch, capsys):
    run_command(monkeypatch, "--times", "2")
    (folder,) = (home / "experiments").iterdir()
    assert last(folder) == 4
    assert list(Path.cwd().iterdir()) == []
    assert capsys.readouterr().out.endswith(f"written to {folder}\n")
    run_command(monkeypatch, "--times", "2")
    assert list((home / "experiments").iterdir()) == [folder]


def test_out_sets_the_output_folder(home, monkeypatch):
    for arguments in ((), ("--times", "1")):
        run_command(monkeypatch, "--out", "here", *arguments)
        assert last(Path("here")) == (2 if arguments else 8)
    assert not home.exists()


def test_the_error_for_an_unknown_flag_names_the_flag(home, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run_command(monkeypatch, "--tmies", "2")
    assert caught.value.code == 2
    assert "--tmies" in capsys.readouterr().err


def test_ctrl_c_ends_an_experiment_with_status_130_and_a_message(home, monkeypatch, capsys):
    def interrupted(config):
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["doubling"])
    with pytest.raises(SystemExit) as caught:
        command.main(Config, interrupted, plot, numbers)
    assert caught.value.code == 130
    assert "run the same command again" in capsys.readouterr().err


def test_medians_over_seeds_are_finite_or_plus_infinity():
    cost = xr.DataArray([[1.0, np.inf], [4.0, np.inf], [2.0, 5.0], [3.0, 6.0]], dims=("seed", "at"))
    assert medians(cost).values.tolist() == [2.5, np.inf]
    assert medians(cost.T).dims == ("at",)
