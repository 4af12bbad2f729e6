"""Concatenation of sweeps: common records and metrics are kept, parameters are not."""

import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd

GRID = gd.axes(learning_rate=[0.1, 0.2], seed=range(2))


def sized(n, baseline=3.0):
    return gd.Problem(
        init=lambda key: gd.problems.bowl([1.0] * n).init(key),
        cost=lambda w: jnp.mean(w**2),
        metrics={
            "largest": gd.Metric(lambda _, w: jnp.max(w)),
            "pair": gd.Metric(lambda _, w: w[:2], dims=("coordinate",)),
            "all_of_it": gd.Metric(lambda _, w: w, dims=("entry",), every=2),
        },
        baseline=baseline,
    )


@pytest.fixture(scope="module")
def sweeps():
    return {str(n): gd.sweep(sized(n), GRID, 4, snapshot_every=2) for n in (2, 3)}


def test_records_and_metrics_of_each_problem_are_unchanged_and_others_omitted(sweeps):
    joined = gd.sweeps.concat(sweeps, "width")
    assert joined.cost.dims == ("width", "learning_rate", "seed", "step")
    assert joined.width.values.tolist() == ["2", "3"]
    for width in ("2", "3"):
        alone = sweeps[width]
        for name in ("cost", "gradient_norm", "outcome", "diverged_at", "largest", "pair"):
            assert joined[name].sel(width=width, drop=True).identical(alone[name]), name
    assert joined.attrs["left_out"] == "params, snapshots, all_of_it"
    assert not {"params", "snapshots", "all_of_it", "snapshot_step"} & {*joined.variables}


def test_names_remain_text(sweeps):
    names = ["1", "01", "16_16", "nan"]
    joined = gd.sweeps.concat(dict.fromkeys(names, sweeps["2"]), "kind")
    assert joined.kind.values.tolist() == names


def test_a_concatenated_comparison_can_be_plotted_and_tabulated(sweeps):
    joined = gd.sweeps.concat(sweeps, "width")
    frame = gd.sweeps.table(joined)
    assert frame.width.tolist() == ["2"] * 4 + ["3"] * 4
    np.testing.assert_array_equal(frame.cost, joined.cost.isel(step=-1).values.ravel())
    assert joined.attrs["baseline"] == 3.0
    assert len(gd.plot(joined).axes) > 0


def test_a_baseline_that_differs_between_problems_is_omitted():
    problems = {"2": sized(2), "3": sized(3, baseline=4.0)}
    joined = gd.sweeps.concat({n: gd.sweep(p, GRID, 1) for n, p in problems.items()}, "width")
    assert "baseline" not in joined.attrs
