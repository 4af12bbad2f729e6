"""One family of errors, so that a command or a user can catch them all, and nothing else."""

import pytest

from gdjax import errors

KINDS = (errors.InputError, errors.DataError, errors.StoreError)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_belongs_to_the_family(kind):
    with pytest.raises(errors.GdjaxError, match="says why"):
        raise kind("says why")


def test_a_wrong_argument_is_also_what_python_calls_a_value_error():
    with pytest.raises(ValueError, match="learning_rate"):
        raise errors.InputError("learning_rate = -1")


def test_the_family_does_not_catch_what_is_not_ours():
    assert not issubclass(ValueError, errors.GdjaxError)
    assert not any(issubclass(a, b) for a in KINDS for b in KINDS if a is not b)
