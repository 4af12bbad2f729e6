"""Statuses in attributes, as the CF conventions want them."""

import json
from enum import IntEnum

import pytest

from gdjax.critical_points.classify import Kind
from gdjax.descent.outcome import Outcome
from gdjax.flags import flags
from gdjax.minima.end_points import EndPointKind


class Odd(IntEnum):
    """Values that are no row of whole numbers from 0."""

    UP = 7
    SIDE_WAYS = -1


def test_values_and_meanings_stand_in_one_order():
    assert flags(Odd) == {"flag_values": [7, -1], "flag_meanings": "up side_ways"}


@pytest.mark.parametrize("statuses", [Outcome, Kind, EndPointKind, Odd], ids=lambda s: s.__name__)
def test_every_number_finds_its_word(statuses):
    found = flags(statuses)
    words = dict(zip(found["flag_values"], found["flag_meanings"].split(), strict=True))
    assert len(words) == len(statuses)
    for status in statuses:
        assert words[int(status)] == status.name.lower()
    # Attributes are written as JSON: plain numbers, and no blank within a word.
    assert json.loads(json.dumps(found)) == found
