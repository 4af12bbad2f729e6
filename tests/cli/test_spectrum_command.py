"""The command `gdjax spectrum`, compared with the dense Hessian."""

import json

import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from gdjax.cli import main
from gdjax.cli.point import Origin


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a store with one run of a 784-2-10 network, and the settings of the run."""
    store = tmp_path_factory.mktemp("trained") / "s"
    problem = gd.problems.digits("mnist5k", widths=(2,), samples=60)
    gd.sweep(problem, gd.axes(learning_rate=[1.0], seed=[0]), 3, store=store)
    return store, ("learning_rate=1", "seed=0")


@pytest.fixture(scope="module")
def hilly(tmp_path_factory):
    """Return a store of two descents on Himmelblau's function; the second diverges."""
    store = tmp_path_factory.mktemp("hilly") / "s"
    grid = gd.axes(learning_rate=[0.01, 1e30], seed=[2])
    gd.sweep(gd.problems.from_function("himmelblau"), grid, 200, store=store)
    return store


def run(out, *arguments):
    main(["spectrum", *arguments, "--out", str(out)])
    return json.loads((out / "summary.json").read_text())


@pytest.mark.long
def test_the_spectrum_of_a_network_equals_that_of_its_dense_hessian(trained, tmp_path, capsys):
    store, at = trained
    flags = ["--largest", "3", "--smallest", "1", "--probes", "24"]
    summary = run(tmp_path, "--store", str(store), "--at", *at, *flags)
    assert {p.name for p in tmp_path.iterdir()} == {
        "summary.json",
        "spectrum.zarr",
        "density.png",
        "ranks.png",
    }
    point = Origin(store=str(store), at=at).find()
    H = np.asarray(
        gd.curvature.HessianOperator(point.problem, point.params).as_matrix(), np.float64
    )
    exact = np.linalg.eigvalsh(H)
    size = np.abs(exact).max()
    assert summary["status"] == "converged"
    np.testing.assert_allclose(summary["eigenvalues"], exact[[-1, -2, -3, 0]], atol=2e-3 * size)
    assert max(summary["residuals"]) <= 1e-3 * size
    assert abs(summary["trace"] - exact.sum()) <= 4 * summary["trace_standard_error"]
    first = 784 * 2 + 2
    blocks = {"layer 1": H[:first, :first], "layer 2": H[first:, first:]}
    assert list(summary["parts"]) == list(blocks)
    for name, block in blocks.items():
        largest = np.linalg.eigvalsh(block)[-1]
        assert summary["parts"][name]["largest"] == pytest.approx(largest, abs=2e-3 * size)
    assert summary["stability_threshold"] == pytest.approx(2.0)  # 2 / learning rate
    assert summary["share_of_threshold"] == pytest.approx(exact[-1] / 2, rel=1e-2)
    assert summary["classification"]["kind"] == "not stationary"
    assert summary["classification"]["dead"] == np.sum(np.all(H == 0, axis=0)) > 0

    observed = xr.open_zarr(tmp_path / "spectrum.zarr", consolidated=False).load()
    np.testing.assert_allclose(observed.eigenvalue, summary["eigenvalues"], rtol=1e-6)
    assert observed.attrs["parts"] == ["layer 1", "layer 2"]
    np.testing.assert_allclose(observed.weight.sum("depth"), 1, rtol=1e-4)
    assert dict(observed.part_eigenvalue.sizes) == {"part": 2, "rank": 3}

    printed = " ".join(capsys.readouterr().out.split())
    assert f"{summary['classification']['dead']} dead coordinates excluded" in printed


@pytest.mark.long
def test_the_end_point_of_a_descent_is_classified_as_a_minimum(hilly, tmp_path, capsys):
    """The largest eigenvalue equals that at a minimum of Himmelblau's function."""
    at = ["--store", str(hilly), "--at", "learning_rate=0.01", "seed=2"]
    summary = run(tmp_path, *at, "--gradient-tolerance", "1e-3")
    known = [82.2843, 105.4190, 80.5498, 133.7865]
    assert min(abs(summary["eigenvalues"][0] - top) for top in known) < 1e-2
    assert len(summary["eigenvalues"]) == 2
    assert summary["parts"] == {}
    assert summary["classification"]["kind"] == "strict minimum"
    assert summary["trace"] == pytest.approx(sum(summary["eigenvalues"]), rel=1e-5)
    assert summary["stability_threshold"] == pytest.approx(200)
    assert "of 0 exactly 0; 0 dead" in " ".join(capsys.readouterr().out.split())


@pytest.mark.long
def test_a_non_finite_point_is_reported_and_not_plotted(hilly, tmp_path, capsys):
    summary = run(tmp_path, "--store", str(hilly), "--at", "learning_rate=1e30", "seed=2")
    assert summary["status"] == "not finite"
    assert summary["classification"]["kind"] == "undecided"
    assert not list(tmp_path.glob("*.png"))
    assert "values that are not finite cannot be drawn" in capsys.readouterr().out
