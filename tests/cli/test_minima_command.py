"""The command `gdjax minima` for new descents or a stored sweep."""

import json
from typing import get_args

import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from gdjax.cli import main
from gdjax.cli.minima import Function
from gdjax.sweeps import fit

pytestmark = pytest.mark.filterwarnings("ignore:count_minima")  # short descents


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def opened(folder, name="data"):
    return xr.open_zarr(folder / f"{name}.zarr", consolidated=False).load()


def test_the_command_takes_all_test_functions():
    assert get_args(Function) == tuple(gd.problems.FUNCTIONS)


@pytest.mark.long
def test_the_minima_and_basins_of_a_function_are_found(tmp_path, capsys):
    """All four classified minima are found, with location, curvature and share."""
    flags = ["--function", "himmelblau", "--seeds", "60", "--num-steps", "200"]
    main(["minima", *flags, "--out", str(tmp_path)])
    output = summary(tmp_path)
    known = gd.problems.FUNCTIONS["himmelblau"].minima
    rows = output["minima"]
    for row in rows:
        away = [np.hypot(*np.subtract(row["at"], point.x)) for point in known]
        assert min(away) < 1e-6
    assert sorted(row["sharpness"] for row in rows) == pytest.approx(
        [80.550, 82.284, 105.419, 133.786], abs=1e-3
    )
    assert sum(row["runs"] for row in rows) == 60
    assert all(row["share_low"] < 0.25 < row["share_high"] for row in rows)
    assert output["ended"] == {"strict minimum": 60}
    assert output["unseen_mass"] == 0
    assert output["stable_from"] < 1e-3 < output["stable_to"]
    # The default learning rate is a fifth of 2 / 133.786.
    assert float(opened(tmp_path).learning_rate[0]) == pytest.approx(0.4 / 133.786, rel=1e-4)
    basins = opened(tmp_path, "basins")
    np.testing.assert_allclose(basins.share.values.sum(), 1)
    assert {p.name for p in tmp_path.iterdir()} == {
        "summary.json",
        "runs.zarr",
        "data.zarr",
        "basins.zarr",
        "shares.png",
        "map.png",
        "barriers.png",
        "basins.png",
    }
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "60 of 60 runs ended in 4 minima, 0 on 0 manifolds of minima; other runs: none" in printed
    )
    assert "(3, 2)" in printed


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    main(
        "minima --samples 20 --widths 3 --decay 0.002 --seeds 4 --num-steps 1000 "
        f"--out {folder}".split()
    )
    return folder


@pytest.mark.long
def test_the_census_of_networks_has_costs_and_test_accuracies_but_no_basins(networks):
    output, result = summary(networks), opened(networks)
    costs = [row["cost"] for row in output["minima"]]
    assert costs == sorted(costs)
    assert len(costs) == result.sizes["minimum"] > 0
    assert all(0 <= row["test_accuracy"] <= 1 for row in output["minima"])
    assert sum(output["ended"].values()) == output["runs"] == 4
    assert "at" not in output["minima"][0]
    assert result.attrs["problem"]["problem"] == "few_digits"
    assert not (networks / "basins.png").exists()


@pytest.mark.long
def test_the_census_of_a_store_equals_that_of_the_command_that_wrote_it(networks, tmp_path):
    main(["minima", "--store", str(networks / "runs.zarr"), "--out", str(tmp_path)])
    first, again = opened(networks), opened(tmp_path)
    xr.testing.assert_identical(first.drop_attrs(deep=False), again.drop_attrs(deep=False))
    assert summary(tmp_path)["minima"] == summary(networks)["minima"]
    assert not (tmp_path / "runs.zarr").exists()


@pytest.mark.long
def test_diverged_runs_are_counted_and_damaged_runs_are_skipped_only_if_requested(
    tmp_path, capsys, monkeypatch
):
    """On the quartic, all runs with the larger learning rate diverge."""
    monkeypatch.setattr(fit, "CPU_WIDTHS", ())  # one run per slab
    gd.sweep(
        gd.problems.from_function("quartic"),
        gd.axes(learning_rate=[0.02, 3.0], seed=range(3)),
        60,
        store=tmp_path / "s",
    )
    store = ["--store", str(tmp_path / "s"), "--at", "learning_rate=3"]
    main(["minima", *store, "--out", str(tmp_path / "out")])
    assert (
        "0 of 3 runs ended in 0 minima, 0 on 0 manifolds of minima; other runs: 3 diverged"
        in " ".join(capsys.readouterr().out.split())
    )
    assert summary(tmp_path / "out")["minima"] == []
    # There is no figure, since there is no minimum and only one parameter.
    assert list((tmp_path / "out").glob("*.png")) == []

    (tmp_path / "s" / "cost" / "c.1.1.0").unlink()
    with pytest.raises(SystemExit, match="2"):
        main(["minima", *store, "--out", str(tmp_path / "damaged")])
    error = capsys.readouterr().err
    assert "tile (1, 1) is damaged (cost/c.1.1.0: missing)" in error
    assert "--skip-damaged" in error
    main(["minima", *store, "--skip-damaged", "--out", str(tmp_path / "damaged")])
    assert "0 of 2 runs ended in 0 minima" in capsys.readouterr().out


@pytest.mark.long
def test_the_graph_of_a_function_is_drawn_and_stored(tmp_path, capsys):
    flags = ["--function", "himmelblau", "--seeds", "20", "--num-steps", "200", "--graph"]
    main(["minima", *flags, "--out", str(tmp_path)])
    output = summary(tmp_path)
    assert (output["saddles"], output["search"]) == (4, "completed")
    assert output["merge_heights"] == pytest.approx([13.311926, 67.719150, 104.015163], abs=1e-6)
    assert opened(tmp_path, "graph").attrs["result"] == "landscape_graph"
    assert (tmp_path / "graph.png").exists()
    assert "saddles found: 4 (search completed); minima merge at 13.312" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["minima", "--graph"])
    assert "--graph: requires --function" in capsys.readouterr().err
