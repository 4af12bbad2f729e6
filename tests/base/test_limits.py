"""Limits of numbers: one declaration for entries, commands and readers."""

import math

import numpy as np
import pytest

from gdjax.base.arguments import check_limits, check_numbers
from gdjax.base.errors import InputError
from gdjax.base.limits import (
    Count,
    Digest,
    NotNegative,
    Positive,
    Real,
    Seed,
    Share,
    is_valid,
)

LIMITS = [  # accepted, refused
    (Count, (1, 2**31 - 1), (0, 2**31, 1.0, True, "1", None)),
    (Seed, (0, 2**32 - 1), (-1, 2**32, 0.5, False)),
    (Real, (-1e308, 0, 2.5), (math.inf, -math.inf, math.nan, True, "1")),
    (NotNegative, (0, 1e308), (-1e-300, math.inf, math.nan)),
    (Positive, (5e-324, 3), (0, -1.0, math.inf, math.nan)),
    (Share, (1e-9, 0.95), (0, 1, 1.5, math.nan)),
]


@pytest.mark.parametrize(("kind", "accepted", "refused"), LIMITS)
def test_entries_and_readers_accept_the_same_numbers(kind, accepted, refused):
    for value in accepted:
        check_limits("x", value, kind)
        check_limits("x", np.asarray(value)[()], kind)  # numbers of NumPy
        assert is_valid(value, kind)
    for value in refused:
        with pytest.raises(InputError, match=r"^x = .*, expected "):
            check_limits("x", value, kind)
        assert not is_valid(value, kind)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_every_precision_are_compared_with_the_limits_of_float64(dtype):
    check_numbers("x", np.array([-1, 0, 2.5], dtype), Real)
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(InputError, match=r"^x = .*, expected an array of finite numbers"):
            check_numbers("x", np.array([1, value], dtype), Real)


def test_a_digest_is_64_hexadecimal_digits():
    assert is_valid("0a" * 32, Digest)
    assert not any(is_valid(text, Digest) for text in ("0a" * 32 + "\n", "0A" * 32, "0a" * 31, 3))
