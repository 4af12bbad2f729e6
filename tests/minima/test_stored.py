"""The census of a stored sweep, whatever its dimensions are called."""

import jax
import numpy as np
import pytest

import gdjax as gd
from gdjax.errors import InputError
from gdjax.minima import census_of


@pytest.mark.long
def test_a_dimension_named_run_and_a_part_of_it(tmp_path):
    along = gd.together(learning_rate=[0.01, 0.02, 0.03, 0.04], seed=range(4))
    problem = gd.problems.function("quartic")
    gd.sweep(problem, gd.axes(run=along, momentum=[0.0]), 50, store=tmp_path / "s")
    whole = census_of(tmp_path / "s")
    assert (whole.sizes["run"], sorted(set(whole.coords) & {"learning_rate", "seed"})) == (
        4,
        ["learning_rate", "seed"],
    )
    np.testing.assert_array_equal(whole.learning_rate, [0.01, 0.02, 0.03, 0.04])
    part = census_of(tmp_path / "s", {"learning_rate": 0.029})
    assert (part.seed.values.tolist(), part.momentum.values.tolist()) == ([2], [0.0])
    with pytest.raises(InputError, match="census_of: key: random probes come from the sweep's"):
        census_of(tmp_path / "s", key=jax.random.key(0))
