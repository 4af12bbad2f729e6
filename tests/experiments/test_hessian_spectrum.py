"""Outliers and negative parts of spectra with known values."""

import numpy as np
import pytest

from experiments.hessian_spectrum import __main__ as summaries


def test_the_widest_gap_ignores_ratios_to_values_that_are_not_positive():
    values = np.array([9.0, 8.0, 2.0, 1.9, 0.1, -1.0])
    assert summaries.widest_gap(values, 3) == (2, 4.0)
    assert summaries.widest_gap(values, 4) == (4, pytest.approx(19))
    # The ratio to a value that is not positive is undefined.
    assert summaries.widest_gap(values, 5) == (4, pytest.approx(19))


def test_negative_parts_of_known_nodes_have_their_known_values():
    nodes = np.array([[-2.0, 0.0, 3.0], [-1.0, 0.001, 1.0]])
    weights = np.array([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    summary = summaries.negative(nodes, weights, 100, 0.01)
    assert summary["eigenvalues_below"] == pytest.approx(20)
    assert summary["eigenvalues_above"] == pytest.approx(25)
    assert summary["negative_sum"] == pytest.approx(-25)
    assert summary["negative_sum_error"] == pytest.approx(5)
