"""Labels of kinds, and advice for points that could not be classified."""

import numpy as np
import pytest
from points_of_known_kind import REFUSALS

from gdjax.critical_points.classify import Classification, Kind


def classification(kind, dtype=np.float64, **numbers):
    """Return a classification with the given evidence, and zeros in the other fields."""
    zeros = dict.fromkeys(Classification._fields, 0.0)
    return Classification(**{k: dtype(v) for k, v in (zeros | numbers).items()})._replace(
        kind=np.int32(kind)
    )


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_every_kind_has_a_label_and_classified_points_have_no_advice(kind):
    one = classification(kind, largest=1.0)
    assert one.kind_name == kind.name.lower().replace("_", " ")
    assert (one.advice == "") == (kind not in REFUSALS)


FAR = {"gradient_norm": 0.25, "gradient_tolerance": 1e-5}
NEAR = {"newton_distance": 0.5, "distance_tolerance": 0.1}


@pytest.mark.parametrize(
    ("kind", "numbers", "words"),
    [
        (Kind.UNDECIDED, {"gradient_norm": np.nan}, "not finite"),
        (Kind.UNDECIDED, {"largest": np.nan}, "not finite"),
        (Kind.UNDECIDED, {"kantorovich": 0.75}, "0.75, expected below 0.5"),
        (Kind.UNDECIDED, {"nullity": 2, "resolution": 3e-9}, "2 of the eigenvalues are within 3e"),
        (Kind.NOT_STATIONARY, FAR, "the gradient is 0.25, expected at most 1e-05: find the near"),
        (Kind.NOT_STATIONARY, NEAR, "a critical point seems to be 0.5 away"),
    ],
)
def test_advice_states_the_reason(kind, numbers, words):
    assert words in classification(kind, **{"largest": 1.0} | numbers).advice


def test_float64_is_recommended_only_for_float32_points():
    for dtype in (np.float32, np.float64):
        text = classification(Kind.UNDECIDED, dtype, largest=1.0, kantorovich=2.0).advice
        assert ("float64" in text) == (dtype is np.float32)
