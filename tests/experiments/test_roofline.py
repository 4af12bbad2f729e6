"""The roofline experiment: operations and memory traffic of a step."""

import numpy as np
import pytest

from experiments.benchmarks.timing import PARAMETERS
from experiments.roofline import __main__ as roofline


@pytest.mark.long
def test_operations_and_bytes_of_a_step_exceed_those_of_products_and_weights():
    config = roofline.Config(runs=4, batch_sizes=(32, 100_000))
    bounds = roofline.run(config)
    products = 4 * bounds.batch_size * PARAMETERS * config.runs
    assert (products < bounds.operations).all()
    assert (bounds.operations < 1.2 * products).all()
    assert (bounds.bytes > 12 * PARAMETERS * config.runs).all()
    assert 0 < bounds.share[0] < bounds.weights_share[0]
    np.testing.assert_allclose(bounds.weights_share, [0.5333, 1], rtol=1e-3)
