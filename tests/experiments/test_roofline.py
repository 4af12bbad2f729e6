"""The roofline experiment: predicted times of a step."""

import numpy as np

from experiments.roofline import __main__ as roofline
from gdjax.sweeps.absent_device import Kernel, Loop


def test_the_time_of_a_step_is_bounded_by_launches_transfers_operations_and_waits():
    config = roofline.Config(peak=1e12, bandwidth=1e9, floors=(1.0, 6.0), waits=(10.0, 30.0))
    kernels = [Kernel("launch", 0, 0), Kernel("transfer", 5000, 0), Kernel("product", 0, 10**7)]
    times = roofline.microseconds(config, Loop(32, kernels, 0), waits=0.5)
    np.testing.assert_allclose(times, [1 + 5 + 10 + 5, 6 + 6 + 10 + 15])
