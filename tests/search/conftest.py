"""Fixtures shared by the tests of searches."""

import pytest

from gdjax.sweeps import fit


@pytest.fixture(autouse=True, scope="module")
def slabs_of_four_runs():
    """Compute all programs of this folder in slabs of four runs, so that searches have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "CPU_WIDTHS", ((4, 2**60),))
        yield
