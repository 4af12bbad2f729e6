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


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"gradient_norm": np.nan}, "not finite"),
        ({"largest": np.nan}, "not finite"),
        ({"kantorovich": 0.75}, "0.75, expected below 0.5"),
        ({"nullity": 2, "resolution": 3e-9}, "2 of the eigenvalues are within 3e-09 of zero"),
    ],
)
def test_advice_for_an_undecided_point_states_the_reason(numbers, words):
    assert words in classification(Kind.UNDECIDED, **{"largest": 1.0} | numbers).advice


def test_advice_for_a_point_that_is_not_stationary_names_the_distance_and_the_remedy():
    one = classification(Kind.NOT_STATIONARY, gradient_norm=0.25, gradient_tolerance=1e-5)
    assert one.advice.startswith("the gradient is 0.25, expected at most 1e-05")
    near = one._replace(gradient_norm=0.0, newton_distance=0.5, distance_tolerance=0.1)
    assert "0.5 away" in near.advice
    for advice in (one.advice, near.advice):
        assert "with gd.critical_points.polish(problem, params), or for the runs" in advice


def test_float64_is_recommended_only_for_float32_points():
    for dtype in (np.float32, np.float64):
        text = classification(Kind.UNDECIDED, dtype, largest=1.0, kantorovich=2.0).advice
        assert ("float64" in text) == (dtype is np.float32)
