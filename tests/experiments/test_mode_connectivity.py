"""The mode connectivity experiment: barriers of lines, matched lines, and curves."""

import numpy as np
import pytest
import xarray as xr

from experiments.mode_connectivity import __main__ as mode_connectivity
from experiments.mode_connectivity.model import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    samples=500,
    widths=(16,),
    networks=(4,),
    epochs=12,
    curve_epochs=12,
    learning_rate=0.02,
    batch_size=25,
    points=9,
    nodes=3,
    images=200,
)


@pytest.fixture(scope="module")
def dataset():
    return mode_connectivity.run(SMALL)


@pytest.fixture(scope="module")
def experiment_summary(dataset):
    return mode_connectivity.numbers(dataset)


def test_the_lowest_cost_is_below_the_baseline_and_accuracies_exceed_one_half(dataset):
    assert dataset.test_accuracy.min("run").max() > 0.5
    assert np.all(dataset.cost.min("run") < dataset.attrs["baseline"])


def test_all_paths_end_at_the_networks(dataset):
    """Matching preserves outputs, so the costs at both ends are those after training."""
    for k, width in enumerate(SMALL.widths):
        for pair in range(SMALL.networks[k] // 2):
            cost = dataset.cost.sel(width=width)
            along = dataset.cost_along.sel(width=width, pair=pair)
            for end, run in ((0, 2 * pair), (-1, 2 * pair + 1)):
                np.testing.assert_allclose(along.isel(t=end), float(cost[run]), rtol=1e-4)


def test_barriers_of_single_paths_equal_those_in_the_matrix(dataset):
    for kind, name in (("straight", "barrier"), ("matched by weights", "matched_barrier")):
        along = dataset.cost_along.sel(width=16, pair=1, kind=kind).values
        rise = np.max(along - np.linspace(along[0], along[-1], len(along)))
        np.testing.assert_allclose(
            float(dataset[name].sel(width=16, run=2, other=3)), max(rise, 0), atol=1e-4
        )


def test_matching_increases_no_distance_and_curves_have_lower_costs(dataset, experiment_summary):
    assert np.all((dataset.matched_distance <= dataset.distance) | dataset.distance.isnull())
    mean = dataset.cost_along.mean("t").sel(kind=["straight", "curved"]).dropna("pair", how="all")
    assert np.all(
        (mean.sel(kind="curved") < mean.sel(kind="straight")) | mean.sel(kind="curved").isnull()
    )
    for width in SMALL.widths:
        assert (
            experiment_summary[f"width_{width}_barrier_matched_by_weights"]
            < (experiment_summary[f"width_{width}_barrier_straight"])
        )


def test_the_summary_excludes_padding(dataset, experiment_summary):
    fewer = dataset.isel(run=slice(3), other=slice(3), pair=slice(1)).assign_coords(width=[17])
    both = xr.concat([dataset, fewer], "width", join="outer")
    summary = mode_connectivity.numbers(both)
    assert (summary["width_16_pairs"], summary["width_17_pairs"]) == (6, 3)
    assert all(np.isfinite(value) for value in summary.values())
    assert {name: summary[name] for name in experiment_summary} == experiment_summary


def test_figures_are_drawn_from_the_dataset(dataset, drawn):
    assert list(drawn(mode_connectivity, dataset)) == ["along", "barriers", "matrix"]
