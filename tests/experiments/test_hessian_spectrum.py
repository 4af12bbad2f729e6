"""A small Hessian spectrum experiment: outliers, traces and negative parts."""

import numpy as np
import pytest

from experiments.hessian_spectrum import __main__ as hessian_spectrum
from experiments.hessian_spectrum import __main__ as summaries
from experiments.hessian_spectrum.model import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    epochs=(0, 2),
    shown=(0, 2),
    seeds=1,
    largest=12,
    smallest=1,
    gap_within=11,
    probes=4,
    depth=20,
    samples=200,
)


@pytest.fixture(scope="module")
def tree():
    return hessian_spectrum.run(SMALL)


@pytest.fixture(scope="module")
def experiment_summary(tree):
    return hessian_spectrum.numbers(tree)


def test_the_widest_gap_ignores_ratios_to_values_that_are_not_positive():
    values = np.array([9.0, 8.0, 2.0, 1.9, 0.1, -1.0])
    assert summaries.widest_gap(values, 3) == (2, 4.0)
    assert summaries.widest_gap(values, 4) == (4, pytest.approx(19))
    # The ratio to a value that is not positive is undefined.
    assert summaries.widest_gap(values, 5) == (4, pytest.approx(19))


def row_of(experiment_summary, cost, epoch, matrix):
    rows = [r for r in experiment_summary["counts"] if (r["cost"], r["epoch"]) == (cost, epoch)]
    return next(r for r in rows if r["matrix"] == matrix)


def test_the_table_contains_the_counts_of_all_cases(tree, experiment_summary):
    rows = experiment_summary["counts"]
    assert len(rows) == len(SMALL.costs) * len(SMALL.epochs) * 2
    for row in rows:
        values = tree[row["cost"]].to_dataset().sel(epoch=row["epoch"])[row["matrix"]].values
        for rule in ("above_gap", "above_gap_of_all_ranks", "above_a_tenth_at_least"):
            assert len(row[rule]) == SMALL.seeds == len(values)
        np.testing.assert_allclose(row["largest"], values[:, 0], rtol=1e-3)


def test_negative_parts_of_known_nodes_have_their_known_values():
    nodes = np.array([[-2.0, 0.0, 3.0], [-1.0, 0.001, 1.0]])
    weights = np.array([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    summary = summaries.negative(nodes, weights, 100, 0.01)
    assert summary["eigenvalues_below"] == pytest.approx(20)
    assert summary["eigenvalues_above"] == pytest.approx(25)
    assert summary["negative_sum"] == pytest.approx(-25)
    assert summary["negative_sum_error"] == pytest.approx(5)


@pytest.mark.parametrize(("cost", "outliers"), [("quadratic", 10), ("cross_entropy", 9)])
def test_before_training_the_number_of_outliers_is_that_of_output_directions(
    experiment_summary, cost, outliers
):
    summary = row_of(experiment_summary, cost, 0, "gauss_newton")
    assert summary["above_gap"] == [outliers]
    assert summary["gap"][0] > 10
    # The gap of the Hessian is smaller, since these directions are mixed with others.
    assert row_of(experiment_summary, cost, 0, "hessian")["gap"][0] < summary["gap"][0] / 3
    assert experiment_summary[f"{cost}_all_converged"]
    assert experiment_summary[f"{cost}_largest_residual"] <= 1.01e-3


def test_negative_curvature_decreases_during_training(experiment_summary):
    before, after = (
        experiment_summary[f"quadratic_{epoch}"]["smallest_over_largest"][0] for epoch in (0, 2)
    )
    assert -1 < before < after < 0
    assert (
        experiment_summary["spread_0"]["negative_sum"]
        < experiment_summary["spread_2"]["negative_sum"]
        < 0
    )


def test_weighted_nodes_sum_to_the_trace(tree, experiment_summary):
    """Both estimates have standard errors, since they use different random probes."""
    observed = tree["quadratic"].to_dataset()
    for at in SMALL.shown:
        here = observed.sel(shown=at)
        sums = 13_002 * (here.node * here.weight).sum("depth").values
        error = np.hypot(
            sums.std(ddof=1) / 2, experiment_summary[f"spread_{at}"]["trace_standard_error"]
        )
        assert abs(sums.mean() - experiment_summary[f"spread_{at}"]["trace"]) < 5 * error


def test_figures_are_drawn_from_the_dataset(tree, drawn):
    figures = drawn(hessian_spectrum, tree)
    assert list(figures) == ["density", "ranks"]
    panels = [axes.get_title(loc="left") for axes in figures["ranks"].axes]
    assert panels == [
        f"{cost}: {matrix}"
        for cost in ("quadratic cost", "cross entropy")
        for matrix in ("Hessian", "Gauss-Newton part")
    ]
