"""The measurements of the speed experiment, and the numbers derived from them."""

import numpy as np
import pytest
import xarray as xr

from experiments.benchmarks import descents, first_call, landscape
from experiments.benchmarks.timing import Clock, share
from experiments.render import summary
from experiments.speed import __main__ as speed
from gdjax.data import ImageSet

SMALL = speed.Config(runs=2, repeats=1, scale=0.001)


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5100, 28, 28)).astype(np.uint8)
    labels = rng.integers(0, 10, 5100).astype(np.uint8)
    return ImageSet("noise", images[:5000], labels[:5000], images[5000:], labels[5000:], 10, "")


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(Clock, "rate", lambda self: self.rates.append(1e9) or 1e9)
    # PyTorch would leave threads running.
    monkeypatch.setattr("experiments.benchmarks.peers.torch_or_none", lambda *_: None)
    return Clock(SMALL.repeats)


def test_the_share_is_the_operation_rate_relative_to_a_matrix_product():
    """A step with 13,002 parameters takes 4 * 13,002 operations per sample."""
    assert share(2.0, 26_004_000.0, 1000, 10) == pytest.approx(10.0)


MEASUREMENTS = [
    *(descents.whole_set, descents.mini_batches),
    *(landscape.planes, landscape.eigenvalues),
]


@pytest.mark.parametrize("measure", MEASUREMENTS)
def test_every_measurement_is_positive(measure, clock, dataset, monkeypatch):
    # The difference of two sweeps with so few steps is noise, so only the longer one is timed.
    def longer(clock, problem, axes, few, many, size):
        return clock.best(descents.sweep_seconds(problem, axes, many, size))

    monkeypatch.setattr(descents, "steps_only", longer)
    result = measure(clock, SMALL, dataset)
    scalars = xr.DataTree.from_dict(result, nested=True).leaves
    assert all(value > 0 for leaf in scalars for value in leaf.data_vars.values())
    assert "torch" not in str(result)
    assert result.get("eigenvalues", {}).get("largest_residual", 0) < 1e-3


def test_a_first_call_compiles_fewer_than_20_programs():
    result = first_call.ratios(1, rates=1, seeds=2, steps=3)["first_call"]["devices"]["1"]
    assert result["beyond_ratio"] > 0
    assert result["programs_by_hand"] == 1
    # The programs for starts, blocks and small conversions are compiled once each.
    assert result["programs_ours"] < 20


def test_a_summary_is_computed_and_drawn_from_a_tree_of_scalars(drawn):
    work = summary("speed")["work"]
    tree = xr.DataTree.from_dict({"work": work, "matrix_product_GFlops": 100.0}, nested=True)
    assert speed.numbers(tree) == {"work": work, "matrix_product_GFlops": 100.0}
    assert set(drawn(speed, tree)) == {"speed"}
