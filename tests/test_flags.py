"""Flag attributes according to the CF conventions."""

import json
from enum import IntEnum

import pytest

from gdjax.critical_points.classify import Kind
from gdjax.descent.outcome import Outcome
from gdjax.flags import flags
from gdjax.minima.end_points import EndPointKind


class Status(IntEnum):
    """Enumeration whose values are not consecutive integers from 0."""

    UP = 7
    SIDE_WAYS = -1


def test_values_and_meanings_have_the_same_order():
    assert flags(Status) == {"flag_values": [7, -1], "flag_meanings": "up side_ways"}


@pytest.mark.parametrize(
    "statuses", [Outcome, Kind, EndPointKind, Status], ids=lambda s: s.__name__
)
def test_every_value_has_a_meaning_without_spaces(statuses):
    result = flags(statuses)
    words = dict(zip(result["flag_values"], result["flag_meanings"].split(), strict=True))
    assert len(words) == len(statuses)
    for status in statuses:
        assert words[int(status)] == status.name.lower()
    # Attributes are written as JSON: plain numbers, and no space within a word.
    assert json.loads(json.dumps(result)) == result
