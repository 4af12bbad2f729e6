"""The basin volume experiment: its data set, and volumes of small networks."""

import numpy as np
import pytest

from experiments.basin_volumes import __main__ as basin_volumes
from experiments.basin_volumes.__main__ import Config


def test_the_digits_equal_those_of_scikit_learn():
    images, labels = basin_volumes.digits8()
    assert images.shape == (1797, 64)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (images.min(), images.max()) == (0, 1)
    assert basin_volumes.problem_of(Config()).network.parameter_count == 4810


@pytest.mark.long
def test_preconditioning_by_curvature_gives_larger_volume_estimates(drawn):
    """The cost is that of a network; for a quadratic cost, volumes would be exact."""
    config = Config(images=100, hidden=4, seeds=3, whole=2, steps=300, directions=32)
    result = basin_volumes.run(config)
    numbers = basin_volumes.numbers(result)
    assert numbers["parameters"] == 310
    assert numbers["diagonal_gain"][0] > 0
    assert numbers["Hessian_gain"][0] > 0
    assert np.isnan(result.log_volume.sel(known="Hessian").values).tolist() == [False, False, True]
    drawn(basin_volumes, result)
