"""The speed experiment: its measurements run, and derived numbers are correct."""

import numpy as np
import pytest
import speed
from benchmarks import descents, first_call, landscape, second_call
from benchmarks.timing import Clock, share

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
    monkeypatch.setattr(
        "benchmarks.peers.torch_or_none", lambda: None
    )  # threads of PyTorch would remain
    return Clock(SMALL.repeats)


def test_a_share_is_the_operations_of_the_work_over_those_of_the_machine():
    """A step of 13,002 parameters on 1,000 samples is 4 * 1,000 * 13,002 operations."""
    assert share(2.0, 26_004_000.0, 1000, 10) == pytest.approx(10.0)


@pytest.mark.long
@pytest.mark.parametrize("part", ["whole_set", "mini_batches"])
def test_every_measurement_of_a_part_is_positive(part, clock, dataset, monkeypatch):
    # With so few steps the difference of two sweeps is noise, so the longer one is timed alone.
    monkeypatch.setattr(
        descents, "steps_only", lambda clock, make, few, many: clock.best(make(many))
    )
    result = getattr(descents, part)(clock, SMALL, dataset)
    assert result
    assert all(value > 0 for value in result.values())
    assert not any("torch" in name for name in result)


@pytest.mark.long
def test_tiny_networks_against_a_step_called_from_python(clock):
    result = descents.trainability(clock, SMALL)
    assert result["trainability_times_stepwise"] == pytest.approx(
        result["trainability_run_steps_a_second"]
        / result["trainability_stepwise_run_steps_a_second"]
    )


@pytest.mark.long
@pytest.mark.parametrize("part", ["planes", "eigenvalues", "paths"])
def test_every_part_measures_something(part, clock, dataset):
    result = getattr(landscape, part)(clock, SMALL, dataset)
    assert result
    assert all(value > 0 for value in result.values())
    assert result.get("eigenvalues_largest_residual", 0) < 1e-3


@pytest.mark.long
def test_a_first_call_is_measured_in_fresh_processes():
    result = first_call.ratios(1, rates=1, seeds=2, steps=3)
    assert result["first_call_beyond_ratio"] > 0
    assert result["first_call_programs_by_hand"] == 1
    # Starting points, block and small programs are each compiled once.
    assert result["first_call_programs_ours"] < 20


@pytest.mark.long
def test_both_libraries_do_the_same_work_in_a_first_call():
    costs = first_call.ours(2, 2, 3)()
    _params, by_hand = first_call.by_hand(2, 2, 3)()
    assert costs.shape == (2, 2, 4)
    assert by_hand.shape == (4, 4)
    assert (by_hand[-2:, -1] < by_hand[-2:, 0]).all()


@pytest.mark.long
def test_second_calls_of_other_models_do_the_same_work(monkeypatch):
    monkeypatch.setattr(second_call, "MODELS", {"linen": second_call.MODELS["linen"]})
    result = second_call.ratios(1, seeds=2, steps=20)
    assert result["second_call_linen_ratio"] > 0
    assert result["second_call_linen_difference"] < 1e-4
