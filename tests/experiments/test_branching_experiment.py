"""Branches are compared with the run they left; a change at the end is the distance itself."""

import branching
import numpy as np
import pytest
from branching import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    samples=300,
    width=4,
    epochs=2,
    branch_steps=(0, 5, 20, 999),
    perturbations=(0.0, 0.5),
    trunks=2,
    pushes=3,
    slab=4,
    points=5,
)


@pytest.fixture(scope="module")
def dataset():
    return branching.run(SMALL)


def test_a_change_of_nothing_ends_where_the_run_ends(dataset):
    still = dataset.sel(perturbation=0)
    np.testing.assert_array_equal(still.distance, 0)
    np.testing.assert_allclose(still.barrier, 0, atol=1e-6)
    assert (still.cost == still.cost.isel(branch_step=0, perturbation_seed=0)).all()


def test_a_change_at_the_end_is_the_distance(dataset):
    last = dataset.sel(perturbation=0.5, branch_step=20)
    np.testing.assert_allclose(last.distance, 0.5, rtol=1e-5)
    early = dataset.sel(perturbation=0.5, branch_step=0).distance
    assert np.abs(early - 0.5).max() > 1e-4
    assert 999 not in dataset.branch_step


def test_matching_never_raises_the_barrier_of_the_same_network(dataset):
    assert (dataset.independent_distance > 1).all()
    found = branching.numbers(dataset)
    assert found["barrier_0.5_at_20"] < found["independent_barrier"]
    low, high = found["distance_0.5_at_20_interval"]
    assert low <= found["distance_0.5_at_20"] <= high


def test_the_picture_is_drawn(dataset):
    branching.plot(dataset)["branches"].canvas.draw()
