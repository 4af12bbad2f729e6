"""Concatenation of the parts of a store of format 2, and invalid parts."""

import json

import numpy as np
import pytest
import xarray as xr

from gdjax.errors import StoreError
from gdjax.stores.format_2 import join, join_parts
from gdjax.stores.reader import with_names


def part(seeds, steps=(0, 1, 2), *, value=0.0, dtype="f8", width=2, **attrs):
    """Return a part of a store: cost = value + 10 seed + step, weights = seed."""
    cost = value + 10.0 * np.array(seeds)[:, None] + np.array(steps)[None]
    weights = np.repeat(np.array(seeds)[:, None], width, 1).astype(dtype)
    return xr.Dataset(
        {"cost": (("seed", "step"), cost, {"units": "1"}), "weights": (("seed", "w"), weights)},
        {"seed": list(seeds), "step": list(steps)},
        attrs,
    )


def test_joined_coordinates_are_sorted_together_with_their_values():
    complete = join([part([4, 6]), part([1, 5])], {"seed": ["seed"]})
    assert complete.seed.values.tolist() == [1, 4, 5, 6]
    np.testing.assert_array_equal(
        complete.cost, 10.0 * complete.seed.values[:, None] + np.arange(3)
    )
    np.testing.assert_array_equal(complete.weights, np.repeat([[1.0], [4], [5], [6]], 2, 1))
    assert complete.cost.attrs == {"units": "1"}


@pytest.mark.parametrize(
    "key", [np.s_[1], np.s_[:, 1], np.s_[::-1], np.s_[[2, 0]], np.s_[3:1:-1, [0, 2]], np.s_[2, 2]]
)
def test_selections_of_joined_parts_have_the_selected_values(key):
    complete = join([part([4, 6]), part([1, 5])], {"seed": ["seed"]})
    expected = (10.0 * np.array([1, 4, 5, 6])[:, None] + np.arange(3))[key]
    np.testing.assert_array_equal(complete.cost[key], expected)


def test_string_coordinates_remain_in_the_order_of_the_parts():
    def named(name):
        one = part([0]).rename(seed="kind")
        return one.assign_coords(kind=np.array([name], object))

    complete = join([named("z"), named("a")], {"kind": ["kind"]})
    assert complete.kind.values.tolist() == ["z", "a"]


def test_the_later_part_takes_precedence_and_missing_records_are_nan():
    early, late = part([0, 1], [0, 1, 2]), part([1], [2, 3, 4], value=0.5)
    complete = join([early, late], {"seed": ["seed"]}, {"step": 2})
    assert complete.step.values.tolist() == [
        0,
        2,
        4,
    ]  # 3 is neither a multiple of 2 nor the last step
    nan = np.nan
    np.testing.assert_array_equal(complete.cost, [[0, 2, nan], [10, 12.5, 14.5]])
    ends = join([part([0], [0, 2, 3])], {"seed": ["seed"]}, {"step": 2})
    assert ends.step.values.tolist() == [0, 2, 3]


@pytest.mark.parametrize("other", [part([1], width=3), part([1], dtype="f4")])
def test_parts_with_different_arrays_are_rejected(other):
    with pytest.raises(StoreError, match=r"weights is .* in one part and .* in another"):
        join([part([0]), other], {"seed": ["seed"]})


RECORD = {"axes": {"seed": {"seed": [0]}}, "record_every": 1, "snapshot_every": None}


def described(record, *origins):
    return {"identity": json.dumps(record), "origins": json.dumps(origins)}


def flagged(seeds, record, *origins):
    flags = np.full(len(seeds), 1, np.uint16)
    one = part(seeds, **described(record, *origins), tiles=2, tiles_finished=1)
    return one.assign(finished=("seed", flags))


def test_writers_are_renumbered_and_counts_are_summed():
    complete = join_parts(
        [flagged([0, 1], RECORD, {"device": "a"}), flagged([2], RECORD, {"device": "b"})]
    )
    assert complete.finished.values.tolist() == [1, 1, 2]
    assert json.loads(complete.attrs["origins"]) == [{"device": "a"}, {"device": "b"}]
    assert (complete.attrs["tiles"], complete.attrs["tiles_finished"]) == (4, 2)
    assert json.loads(complete.attrs["identity"])["axes"] == {"seed": {"seed": [0, 1, 2]}}


@pytest.mark.parametrize("record", [{}, {**RECORD, "axes": 3}, {**RECORD, "measures": {"m": {}}}])
def test_parts_that_are_not_sweeps_are_rejected(record):
    parts = [flagged([s], record, {}) for s in (0, 1)]
    with pytest.raises(StoreError, match="its parts are not sweeps"):
        join_parts(parts)


def test_joined_records_of_a_metric_are_at_multiples_of_its_interval_and_the_last_step():
    def one(seeds, steps):
        recorded = {**RECORD, "record_every": 2, "measures": {"m": {"every": 3}}}
        created = flagged(seeds, recorded, {}).isel(step=[0])
        values = 10.0 * np.array(seeds)[:, None] + np.array(steps)
        return created.assign(m=(("seed", "m_step"), values)).assign_coords(m_step=list(steps))

    complete = join_parts([one([0], [0, 6, 8]), one([0], [12, 14])])
    assert complete.m_step.values.tolist() == [0, 6, 12, 14]
    assert complete.m.values.tolist() == [[0, 6, 12, 14]]


def test_coordinates_with_flag_meanings_are_decoded():
    attrs = {"flag_values": [0, 1], "flag_meanings": "adam sgd", "long_name": "optimizer"}
    coded = xr.Dataset(coords={"kind": ("kind", np.array([1, 0, 1]), attrs)})
    named = with_names(coded).kind
    assert named.values.tolist() == ["sgd", "adam", "sgd"]
    assert named.attrs == {"long_name": "optimizer"}
    for codes in ([0, 2], [-1, 0]):
        wrong = xr.Dataset(coords={"kind": ("kind", np.array(codes), attrs)})
        with pytest.raises(StoreError, match="kind: has values without a name"):
            with_names(wrong)
