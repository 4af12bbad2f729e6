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

    times: int = 3  # number of doublings


def run(config):
    return xr.Dataset({"value": ("time", [2.0**k for k in range(config.times + 1)])})


@pytest.fixture
def doubling(tmp_path, monkeypatch):
    """Return a function that runs the command, with results/ and the folder redirected."""
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def call(*arguments, run=run):
        monkeypatch.setattr("sys.argv", ["doubling", *arguments])
        command.main(
            Config,
            run,
            lambda _: {"doubled": Figure()},
            lambda data: {"last": float(data.value[-1])},
        )

    return call


def last(folder):
    assert {path.name for path in folder.iterdir()} >= {"data.zarr", "summary.json", "doubled.png"}
    return json.loads((folder / "summary.json").read_text())["last"]


def test_results_are_in_the_folder_of_the_experiment_and_for_other_configs_below_it(
    doubling, capsys
):
    doubling()
    home = command.RESULTS / "experiments"
    assert last(home) == 8
    doubling("--times", "2")
    doubling("--times", "2")
    (folder,) = (path for path in home.iterdir() if path.is_dir() and path.suffix != ".zarr")
    assert last(folder) == 4
    assert list(Path.cwd().iterdir()) == []
    assert capsys.readouterr().out.endswith(f"written to {folder}\n")


def test_out_sets_the_output_folder(doubling):
    for arguments in ((), ("--times", "1")):
        doubling("--out", "here", *arguments)
        assert last(Path("here")) == (2 if arguments else 8)
    assert not command.RESULTS.exists()


def test_ctrl_c_ends_an_experiment_with_status_130_and_a_message(doubling, capsys):
    def interrupted(config):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        doubling(run=interrupted)
    assert caught.value.code == 130
    assert "run the same command again" in capsys.readouterr().err


def test_medians_over_seeds_are_finite_or_plus_infinity():
    cost = xr.DataArray([[1.0, np.inf], [4.0, np.inf], [2.0, 5.0], [3.0, 6.0]], dims=("seed", "at"))
    assert medians(cost).values.tolist() == [2.5, np.inf]
    assert medians(cost.T).dims == ("at",)
