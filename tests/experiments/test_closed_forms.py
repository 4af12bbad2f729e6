"""Functions of experiments that have few of their own, against known values."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.central_flow import __main__ as central_flow
from experiments.hessian_spectrum import __main__ as hessian_spectrum
from experiments.initializations import __main__ as initializations
from experiments.learning_rates import __main__ as learning_rates
from experiments.roofline import __main__ as roofline
from experiments.shared.images import pooled, shrunk
from gdjax import slabs
from gdjax.data import load
from gdjax.sweeps.absent_device import Kernel, Loop, loops


def test_the_deviation_from_2_is_the_largest_between_records_close_to_2():
    rising, covered, falling = (
        np.linspace(1, 1.9995, 50),
        np.full(40, 2.0004),
        np.linspace(1.99, 1, 9),
    )
    assert central_flow.at_edge(np.r_[rising, covered, falling]) == pytest.approx(4e-4)
    assert central_flow.at_edge(rising) is None


def test_deviations_compare_equally_smoothed_costs():
    """The deviation is 3 % for predictions 3 % too high, and +inf after divergence."""
    cost = np.exp(-np.linspace(0, 3, 201))[None, None] * np.ones((2, 1, 1))
    cost[1, 0, 100:] = np.inf
    dims = ("learning_rate", "seed", "step")
    part = xr.Dataset({"cost": (dims, cost), "mean": (dims, 1.03 * cost)})
    middle, largest = central_flow.deviation(part, "mean", 10.0)
    np.testing.assert_allclose([middle[0, 0], largest[0, 0]], 0.03)
    assert middle[1, 0] == largest[1, 0] == np.inf


def test_the_widest_gap_ignores_ratios_to_values_that_are_not_positive():
    values = np.array([9.0, 8.0, 2.0, 1.9, 0.1, -1.0])
    assert hessian_spectrum.widest_gap(values, 3) == (2, 4.0)
    assert hessian_spectrum.widest_gap(values, 4) == (4, pytest.approx(19))
    # The ratio to a value that is not positive is undefined.
    assert hessian_spectrum.widest_gap(values, 5) == (4, pytest.approx(19))


def test_the_negative_sum_of_known_nodes_has_its_known_value():
    nodes = np.array([[-2.0, 0.0, 3.0], [-1.0, 0.001, 1.0]])
    weights = np.array([[0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    assert hessian_spectrum.negative_sum(nodes, weights, 100) == pytest.approx((-25, 5))


def test_digits_are_pooled_to_ten_by_ten():
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 4:6, 6:8] = [[255, 0], [0, 255]]  # the second cell of the first row
    images[0, 0] = 255  # in the margin
    cells = pooled(images)
    assert cells.shape == (1, 100)
    np.testing.assert_allclose(np.flatnonzero(cells), [1])
    np.testing.assert_allclose(cells[0, 1], 0.5)


def test_the_test_set_consists_of_images_not_used_for_training():
    small, complete = shrunk("mnist5k", 4200), load("mnist5k")
    assert (len(small.train_labels), len(small.test_labels)) == (4200, 800)
    np.testing.assert_array_equal(small.test_labels, complete.test_labels[200:])
    back = pooled(complete.test_images[200:]) * 255
    np.testing.assert_allclose(small.test_images.reshape(800, 100), back, atol=0.5)


def test_slopes_of_layers_equal_those_of_a_hand_written_network():
    network = gd.problems.Network((6, 4, 3, 2), input_scale=255)
    params = network.init(jax.random.key(0))
    images = jnp.arange(30, dtype=np.uint8).reshape(5, 6) * 8
    a = np.asarray(images) / 255
    for layer, one in enumerate(params[:2], start=1):
        a = 1 / (1 + np.exp(-(a @ np.asarray(one.weights, float).T + np.asarray(one.bias))))
        slope = initializations.slope_of_layer(network, layer)(params, images)
        assert float(slope) == pytest.approx(np.mean(4 * a * (1 - a)), rel=1e-5)


def test_borders_are_the_first_rate_that_fails_and_the_last_that_trains():
    trains = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [0, 0]], bool)
    failure, last = learning_rates.borders(np.arange(1.0, 6.0), trains)
    assert (failure.tolist(), last.tolist()) == ([1, 4], [4, 3])
    assert learning_rates.alternates(trains).tolist() == [True, False]
    failure, last = learning_rates.borders(np.array([1.0, 2.0]), np.array([[1, 0], [1, 0]], bool))
    np.testing.assert_array_equal(failure, [np.nan, 1])
    np.testing.assert_array_equal(last, [2, np.nan])


def test_the_time_of_a_step_is_bounded_by_launches_transfers_operations_and_waits():
    config = roofline.Config(peak=1e12, bandwidth=1e9, floors=(1.0, 6.0), waits=(10.0, 30.0))
    kernels = [Kernel("launch", 0, 0), Kernel("transfer", 5000, 0), Kernel("product", 0, 10**7)]
    times = roofline.microseconds(config, Loop(32, kernels, 0), waits=0.5)
    np.testing.assert_allclose(times, [1 + 5 + 10 + 5, 6 + 6 + 10 + 15])


TPU_TEXT = """
%product (a: f32[64,16,784], b: u8[32,784]) -> f32[64,16,32] {
  %a = f32[64,16,784]{2,1,0:T(8,128)S(1)} parameter(0)
  %b = u8[32,784]{1,0} parameter(1)
  ROOT %c = f32[64,16,32]{2,1,0} convolution(%b, %a), window={size=1}, dim_labels=bf_0oi->0bf
}
%body (loop: f32[64,16,784]) -> f32[64,16,32] {
  %w = f32[64,16,784]{2,1,0:T(8,128)S(1)} parameter(0)
  %x = u8[32,784]{1,0} parameter(1)
  ROOT %fusion = f32[64,16,32]{2,1,0} fusion(%w, %x), kind=kOutput, calls=%product
}
%main () -> f32[] {
  %while = f32[64,16,32]{2,1,0} while(%start), condition=%cond, body=%body
}
"""


def test_arrays_on_the_chip_of_a_tpu_are_not_transferred_and_its_products_are_convolutions():
    (step,) = loops(slabs.Compiled(SimpleNamespace(as_text=lambda: TPU_TEXT)))
    assert step == Loop(
        None, [Kernel("fusion", 4 * 64 * 16 * 32 + 32 * 784, 2 * 64 * 16 * 32 * 784)], 0
    )


def test_sigmoids_at_zero_temperature_are_step_functions():
    image = jnp.asarray(np.random.default_rng(0).integers(0, 256, (20, 784), dtype=np.uint8))
    smooth = gd.problems.Network((784, 16, 16, 10))
    step = gd.problems.Network((784, 16, 16, 10), activation="step")
    params = smooth.init(jax.random.key(0))
    cold = smooth.apply(params, image, temperature=0.0)
    assert np.array_equal(cold, step.apply(params, image))
    gradient = jax.grad(lambda p: jnp.sum(step.apply(p, image) ** 2))(params)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))
