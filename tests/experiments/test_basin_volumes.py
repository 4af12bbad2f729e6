"""The data set of the basin volume experiment."""

import numpy as np

from experiments.basin_volumes import __main__ as basin_volumes
from experiments.basin_volumes.__main__ import Config


def test_the_digits_equal_those_of_scikit_learn():
    images, labels = basin_volumes.digits8()
    assert images.shape == (1797, 64)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (images.min(), images.max()) == (0, 1)
    assert basin_volumes.problem_of(Config()).network.parameter_count == 4810
