"""Schemas of sweeps, and errors that name their invalid part."""

from typing import Any

import numpy as np
import pytest

from gdjax.base.arrays import Array, Schema
from gdjax.base.documents import plain
from gdjax.base.errors import InputError
from gdjax.stores.schema import Files

GOOD: dict[str, Any] = {
    "sizes": {"seed": 5, "step": 3},
    "tile": {"seed": 2},
    "arrays": {"cost": Array("cost", ("seed", "step"), dtype="f4")},
}


def over(*dims, dtype: Any = "f4", units="1"):
    return Array("", dims, units, dtype=dtype)


def coordinate(name, values):
    return {"coordinates": {name: Array("", ("seed",))}, "values": {name: np.array(values)}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": {"seed": 0, "step": 3}}, r"sizes\['seed'\] = 0"),
        ({"tile": {}}, "at least one dimension"),
        ({"arrays": {}}, "one array"),
        ({"arrays": {"cost": over("step", "seed")}}, "of the grid first"),
        ({"arrays": {"cost": over("seed", "epoch")}}, "epoch"),
        ({"arrays": {"cost": over("seed", "seed")}}, "distinct dimensions"),
        ({"arrays": {"step": over("seed", "step")}}, "other than that of a dimension"),
        ({"arrays": {"finished": over("seed")}}, "is reserved"),
        ({"arrays": {"name": over("seed", dtype="U5")}}, "dtype <U5"),
        ({"arrays": {"a": over("seed", dtype="c8")}}, "dtype complex64"),
        ({"arrays": {"a" * 201: over("seed")}}, "is not a valid name"),
        ({"arrays": {"time": over("seed", units="seconds")}}, "'s'"),
        (coordinate("COST", range(5)), "ignore case"),
        (coordinate("seed", range(4)), r"shape \(4,\)"),
        (coordinate("seed", list("abcde")), "codes"),
        (coordinate("a b", range(5)), "without spaces"),
        (coordinate("cost", range(5)), r"\['cost'\] are names of two arrays"),
    ],
)
def test_an_invalid_schema_is_rejected(change, message):
    Schema(**GOOD)
    with pytest.raises(InputError, match=message):
        Schema(**{**GOOD, **change})


def test_descriptions_are_not_part_of_the_identity_of_a_schema():
    def described(long_name, dtype="f4"):
        cost = Array(long_name, ("seed", "step"), dtype=dtype)
        return Files(Schema(GOOD["sizes"], GOOD["tile"], {"cost": cost})).record({})["layout"]

    assert described("cost") == described("mean cost")
    assert described("cost") != described("cost", "f8")


def test_recorded_values_are_converted_to_json():
    values = {"a": (1, np.int64(2)), "b": np.float32(0.5), "c": np.array([1.0, np.nan]), "d": None}
    assert plain(values) == {"a": [1, 2], "b": 0.5, "c": [1.0, "nan"], "d": None}
    assert plain({"on": np.bool_(True), "seeds": range(2)}) == {"on": True, "seeds": [0, 1]}
    with pytest.raises(InputError, match=r"config\.f\[1\]"):
        plain({"f": [0, object()]}, "config")
