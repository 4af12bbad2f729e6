"""Widths beside how often minima are found: a small census, and ranks that are known."""

import numpy as np
import pytest
import widths_of_valleys
import xarray as xr
from widths_of_valleys import Config


def test_correlations_are_of_ranks_and_leave_out_what_was_refused():
    rng = np.random.default_rng(0)
    n = 40
    volume = rng.normal(size=n)
    dataset = xr.Dataset(
        {
            "volume_log_volume": ("minimum", volume),
            "chains_coefficient": ("minimum", np.where(np.arange(n) < 4, np.nan, -volume)),
            "count": ("minimum", np.argsort(np.argsort(volume))),
            "test_accuracy": ("minimum", rng.normal(size=n)),
            "minimum_cost": ("minimum", np.exp(-volume)),
        },
        attrs={"resamples": 200},
    )
    found = widths_of_valleys.correlations(dataset)
    assert found["volume_and_starts"][:3] == pytest.approx((1, 1, 1))
    assert found["coefficient_and_starts"].value == pytest.approx(-1)
    assert found["cost_and_starts"].value == pytest.approx(-1)
    assert found["volume_and_accuracy"].low < 0 < found["volume_and_accuracy"].high
    assert found["volume_and_cost"].runs == 36


@pytest.mark.long
def test_minima_are_measured_and_drawn():
    """Only a census shows that widths belong to its minima, in its order."""
    config = Config(
        images=20, hidden=1, seeds=48, steps=1500, directions=200, num_samples=100, resamples=50
    )
    found = widths_of_valleys.run(config)
    assert found.volume_log_volume.sizes == {"minimum": found.sizes["minimum"]}
    numbers = widths_of_valleys.numbers(found)
    assert 0 < numbers["coefficient_median"] < numbers["parameters"] / 2
    assert numbers["volume_least"] <= numbers["volume_most"]
    widths_of_valleys.plot(found)["widths"].canvas.draw()
