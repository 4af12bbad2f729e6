"""Class hierarchy of the errors of gdjax."""

import pytest

from gdjax import errors


@pytest.mark.parametrize("kind", [errors.InputError, errors.DataError, errors.StoreError])
def test_every_error_has_the_common_base_class(kind):
    assert issubclass(kind, errors.GdjaxError)
    assert issubclass(kind, ValueError) == (kind is errors.InputError)
