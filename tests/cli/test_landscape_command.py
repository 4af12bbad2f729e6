"""The command `gdjax landscape` for a stored run, a file or a new descent."""

import json

import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from gdjax.cli import main


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.long
def test_four_planes_of_a_new_descent_are_stored_and_drawn(tmp_path, capsys):
    main(f"landscape --epochs 1 --batch-size 200 --points 5 --out {tmp_path}".split())
    output = summary(tmp_path)
    assert list(output["planes"]) == ["trajectory", "random", "neuron", "eigenvectors"]
    kind = output["planes"]["trajectory"]
    assert 0 < kind["explained"] <= 1
    assert kind["start_cost"] > kind["end_cost"]
    assert all(row["evaluated"] == "as a smaller network" for row in output["planes"].values())
    assert {p.name for p in tmp_path.iterdir()} == {
        "summary.json",
        "planes.zarr",
        "planes.png",
        "descent.png",
        "surface.png",
        "motion.webp",
    }
    tree = xr.open_datatree(tmp_path / "planes.zarr", engine="zarr", consolidated=False).load()
    assert dict(tree["neuron"].sizes) == {"a": 5, "b": 5}
    assert float(tree["neuron"].cost.min()) == pytest.approx(
        output["planes"]["neuron"]["lowest_cost"]
    )
    printed = capsys.readouterr().out
    assert "eigenvector 1" in printed
    assert "its plane explains" in printed


@pytest.mark.long
@pytest.mark.usefixtures("empty_figures")
def test_planes_of_a_stored_run_are_centered_at_its_end_point(tmp_path):
    problem = gd.problems.digits("mnist5k", widths=(4,), samples=60)
    grid = gd.axes(learning_rate=[0.1, 1.0], seed=range(2))
    runs = gd.sweep(problem, grid, 4, store=tmp_path / "s", snapshot_every=1)
    main(
        f"landscape --store {tmp_path}/s --at learning_rate=1 seed=1 --directions trajectory "
        f"gradient --points 3 --reach 0.5 --out {tmp_path}/out".split()
    )
    tree = xr.open_datatree(tmp_path / "out" / "planes.zarr", engine="zarr", consolidated=False)
    costs = runs.cost.sel(learning_rate=1.0, seed=1).values
    np.testing.assert_allclose(tree["trajectory"].path_cost, costs, rtol=1e-5)
    plane = summary(tmp_path / "out")["planes"]["trajectory"]
    ends = plane["start_cost"], plane["end_cost"]
    np.testing.assert_allclose(ends, costs[[0, -1]], rtol=1e-5)
    in_plane = float(tree["trajectory"].path_cost_in_slice[0])
    assert plane["start_cost_in_plane"] == pytest.approx(in_plane)
    gradient = tree["gradient"]
    assert float(gradient.cost[1, 1]) == pytest.approx(float(costs[-1]), rel=1e-5)
    assert gradient.a.values.tolist() == [-0.5, 0, 0.5]
    # The cost is higher at distance 0.5 along the gradient than at the opposite point.
    assert float(gradient.cost[0, 1]) < float(gradient.cost[2, 1])


@pytest.mark.long
@pytest.mark.usefixtures("empty_figures")
def test_parameters_from_a_file_have_no_trajectory(tmp_path, capsys):
    main(f"train --recipe plain --num-steps 3 --widths 4 --out {tmp_path}".split())
    file = str(tmp_path / "params.npz")
    out = tmp_path / "out"
    main(
        ["landscape", "--params", file, "--directions", "layer", "--points", "3", "--out", str(out)]
    )
    assert list(summary(out)["planes"]) == ["layer"]
    with pytest.raises(SystemExit) as raised:
        main(["landscape", "--params", file, "--directions", "trajectory", "--out", str(out)])
    assert raised.value.code == 2
    assert "has no snapshots" in capsys.readouterr().err
