"""Fixtures that check that no plot changes a global setting, and that no figure has a defect."""

import matplotlib
import pytest
from matplotlib import pyplot

from gdjax.plots.style import Figure
from tests.figures import defects


@pytest.fixture(autouse=True)
def _nothing_global():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.fixture(autouse=True)
def _no_defects(monkeypatch):
    """Check every figure that a test draws."""
    figures, init = [], Figure.__init__

    def recorded(self, *args, **kwargs):
        figures.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "__init__", recorded)
    yield
    found = {defect for figure in figures if figure.axes for defect in defects(figure)}
    assert found == set()
