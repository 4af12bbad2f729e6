"""Edges of stability of adaptive optimizers, in small runs."""

import numpy as np
import pytest

from experiments.adaptive_edge import __main__ as adaptive_edge

pytestmark = pytest.mark.long  # trains networks


def test_late_products_of_rate_and_sharpness_are_near_38_for_adam_and_2_for_rmsprop(drawn):
    config = adaptive_edge.Config(
        adam_rates=(0.004,),
        rmsprop_rates=(0.001,),
        steps=4000,
        digit_adam_rates=(0.01,),
        digit_rmsprop_rates=(0.01,),
        digit_steps=8,
        starts=2,
        digits=20,
        records=40,
        digit_records=4,
    )
    dataset = adaptive_edge.run(config)
    result = adaptive_edge.numbers(dataset)
    assert result["chebyshev_adam_limit"] == pytest.approx(38)
    np.testing.assert_allclose(result["chebyshev_adam_late"][0][0], 38, rtol=0.05)
    np.testing.assert_allclose(result["chebyshev_rmsprop_late"][0][0], 2, rtol=0.08)
    assert list(drawn(adaptive_edge, dataset)) == ["adaptive"]
