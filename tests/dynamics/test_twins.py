"""Uncertainty exponents of maps whose basins are known, and decided steps."""

import numpy as np
import pytest

from gdjax.base.errors import InputError
from gdjax.dynamics import decided_step, uncertainty_exponent

DIGITS = 24
EXPONENT = 1 - np.log(3) / np.log(5)


def basins(x):
    """Return the basin of starts x / 5^24 of 5x mod 1, by the first base-5 digit 1 or 3."""
    digits = np.stack([x // 5 ** (DIGITS - 1 - i) % 5 for i in range(DIGITS)])
    is_end = (digits == 1) | (digits == 3)
    return np.take_along_axis(digits, is_end.argmax(axis=0)[None], 0)[0]


def ends_elsewhere(rng, bases, powers, twins):
    """Return whether twins at distances 5^-power end in the other basin, by exact arithmetic."""
    x = rng.integers(0, 5**DIGITS, (bases, 1))
    result = []
    for power in powers:
        sign = rng.choice([-1, 1], (bases, twins))
        moved = (x + sign * 5 ** (DIGITS - power)) % 5**DIGITS
        result.append(basins(moved) != basins(x))
    return np.stack(result, axis=1)


def test_the_exponent_of_a_fractal_boundary_and_the_coverage_of_its_interval():
    """The exponent is 1 - ln 3 / ln 5 = .317394; each base point has two twins."""
    assert pytest.approx(0.317394, abs=1e-6) == EXPONENT
    rng, powers = np.random.default_rng(0), range(3, 9)
    result = [
        uncertainty_exponent(
            ends_elsewhere(rng, 300, powers, 2), [5.0**-k for k in powers]
        ).exponent
        for _ in range(100)
    ]
    assert np.mean([e.value for e in result]) == pytest.approx(EXPONENT, abs=0.02)
    assert 0.89 <= np.mean([e.low <= EXPONENT <= e.high for e in result]) <= 0.99


def test_a_smooth_boundary_has_the_exponent_one():
    rng, distances = np.random.default_rng(1), [1e-3, 3e-3, 1e-2, 3e-2]
    base = rng.uniform(-1, 1, (20_000, 1, 1))
    moved = base + np.array(distances)[:, None] * rng.choice([-1, 1], (20_000, 4, 1))
    result = uncertainty_exponent((moved > 0) != (base > 0), distances)
    assert result.exponent.low < 1 < result.exponent.high
    assert result.exponent.high - result.exponent.low < 0.3
    np.testing.assert_allclose(result.shares, np.array(result.distances) / 2, rtol=0.5)


def test_distances_with_few_events_or_many_are_left_out():
    elsewhere = np.zeros((10, 4, 50), bool)
    for k, count in enumerate([45, 10, 4, 0]):
        elsewhere[:, k, :count] = True
    elsewhere[0, 3, :4] = True
    result = uncertainty_exponent(elsewhere, [1e-1, 1e-2, 1e-3, 1e-4])
    assert result.distances.tolist() == [1e-3, 1e-2]


def test_a_run_is_decided_after_the_last_step_with_a_twin_that_ends_elsewhere():
    elsewhere = np.zeros((5, 59), bool)
    assert decided_step(elsewhere, range(0, 500, 100)) == 0
    elsewhere[0, :20] = elsewhere[2, 7] = True  # step 100 is quiet by chance
    assert decided_step(elsewhere, range(0, 500, 100)) == 300
    elsewhere[-1, 0] = True
    assert decided_step(elsewhere, range(0, 500, 100)) is None
    assert 0.95**59 < 0.05 < 0.95**58


@pytest.mark.parametrize("distances", [[1, "a"], [1, 1j]])
def test_distances_that_are_no_real_numbers_raise_an_error(distances):
    with pytest.raises(InputError, match="uncertainty_exponent: distances = "):
        uncertainty_exponent(np.zeros((2, 2, 40), bool), distances)
