"""Layouts of stores, and errors that name the invalid part of a layout."""

from typing import Any

import numpy as np
import pytest

from gdjax.base.documents import plain
from gdjax.base.errors import InputError
from gdjax.stores.schema import Coordinate, Layout, Variable

GOOD: dict[str, Any] = {
    "sizes": {"seed": 5, "step": 3},
    "tile": {"seed": 2},
    "variables": {"cost": Variable(("seed", "step"), np.float32)},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": {"seed": 0, "step": 3}}, r"sizes\['seed'\] = 0"),
        ({"tile": {}}, "at least one dimension"),
        ({"variables": {}}, "one variable"),
        ({"variables": {"cost": Variable(("step", "seed"), "f4")}}, "of the grid first"),
        ({"variables": {"cost": Variable(("seed", "epoch"), "f4")}}, "epoch"),
        ({"variables": {"cost": Variable(("seed", "seed"), "f4")}}, "distinct dimensions"),
        (
            {"variables": {"step": Variable(("seed", "step"), "f4")}},
            "other than that of a dimension",
        ),
        ({"variables": {"finished": Variable(("seed",), "f4")}}, "is reserved"),
        ({"variables": {"name": Variable(("seed",), "U5")}}, "dtype <U5"),
        ({"variables": {"a": Variable(("seed",), "f4", {"scale_factor": 2})}}, "scale_factor"),
        ({"variables": {"a": Variable(("seed",), "c8")}}, "dtype complex64"),
        ({"coordinates": {"COST": Coordinate(("seed",), np.arange(5))}}, "ignore case"),
        ({"variables": {"a" * 201: Variable(("seed",), "f4")}}, "is not a valid name"),
        ({"variables": {"time": Variable(("seed",), "f4", {"units": "seconds"})}}, "'s'"),
        ({"coordinates": {"seed": Coordinate(("seed",), np.arange(4))}}, r"shape \(4,\)"),
        ({"coordinates": {"seed": Coordinate(("seed",), list("abcde"))}}, "flag_meanings"),
        ({"coordinates": {"a b": Coordinate(("seed",), np.arange(5))}}, "without spaces"),
        (
            {"coordinates": {"cost": Coordinate(("seed",), np.arange(5))}},
            r"\['cost'\] are names of two arrays",
        ),
    ],
)
def test_an_invalid_layout_is_rejected(change, message):
    Layout(**GOOD)
    with pytest.raises(InputError, match=message):
        Layout(**{**GOOD, **change})


def test_descriptions_are_not_part_of_the_identity_of_a_layout():
    def described(long_name, dtype="f4"):
        cost = Variable(("seed", "step"), dtype, {"long_name": long_name})
        return Layout(GOOD["sizes"], GOOD["tile"], {"cost": cost}).record({})["layout"]

    assert described("cost") == described("mean cost")
    assert described("cost") != described("cost", "f8")


def test_recorded_values_are_converted_to_json():
    values = {"a": (1, np.int64(2)), "b": np.float32(0.5), "c": np.array([1.0, np.nan]), "d": None}
    assert plain(values) == {"a": [1, 2], "b": 0.5, "c": [1.0, "nan"], "d": None}
    assert plain({"on": np.bool_(True), "seeds": range(2)}) == {"on": True, "seeds": [0, 1]}
    with pytest.raises(InputError, match=r"config\.f\[1\]"):
        plain({"f": [0, object()]}, "config")
