"""Fixture that checks that no plot changes a global setting."""

import matplotlib
import pytest
from matplotlib import pyplot


@pytest.fixture(autouse=True)
def _nothing_global():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
