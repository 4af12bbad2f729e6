"""Parsing of axis values on the command line."""

import numpy as np
import pytest

from gdjax.cli.grid import parse
from gdjax.errors import InputError


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


@pytest.mark.parametrize(
    "text",
    ["", "a", "1:", ":3", "5:5", "8:0", "0:1:0", "0:1:3:log", "-1:1:3:log", "0.1:1:3:lin",
     "1,,2", "nan", "inf", "1:inf:3", "1:1:3", "0.5:2", "1:2:3:log:4"],
)  # fmt: skip
def test_errors_for_invalid_axis_values_name_the_flag(text):
    with pytest.raises(InputError, match="--learning-rate") as caught:
        parse(text, "--learning-rate")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("text", ["0:5000000000", "0:1:5000000000", "0.1:1:99999999999:log"])
def test_too_many_values_are_rejected_before_they_are_created(text):
    with pytest.raises(InputError, match=r"--seed .*,\d\d\d values") as caught:
        parse(text, "--seed")
    assert "at most 10,000,000" in str(caught.value)
