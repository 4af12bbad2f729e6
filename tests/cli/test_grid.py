"""Parsing of axis values on the command line."""

import numpy as np
import pytest

from gdjax.cli.grid import parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [1]),
        ("0.5", [0.5]),
        ("0.5,1,2", [0.5, 1, 2]),
        ("0:8", list(range(8))),
        ("3:5", [3, 4]),
        ("0:1:5", np.linspace(0, 1, 5)),
        ("0.1:30:12:log", np.geomspace(0.1, 30, 12)),
        ("30:0.1:4:log", np.geomspace(30, 0.1, 4)),
        ("2:3:1", [2]),
        ("-1:1:3", [-1, 0, 1]),
    ],
)
def test_axis_values_are_parsed_from_text(text, expected):
    values = parse(text, "--x")
    np.testing.assert_allclose(values, expected, rtol=1e-14)
    assert (values[0], values[-1]) == (expected[0], expected[-1])
