"""Class hierarchy of the errors of gdjax."""

import pytest

from gdjax import errors

KINDS = (errors.InputError, errors.DataError, errors.StoreError)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_the_common_base_class(kind):
    with pytest.raises(errors.GdjaxError, match="says why"):
        raise kind("says why")


def test_an_input_error_is_a_value_error():
    with pytest.raises(ValueError, match="learning_rate"):
        raise errors.InputError("learning_rate = -1")


def test_the_base_class_does_not_catch_other_errors():
    assert not issubclass(ValueError, errors.GdjaxError)
    assert not any(issubclass(a, b) for a in KINDS for b in KINDS if a is not b)
