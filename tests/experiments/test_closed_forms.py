"""Functions of experiments that have few of their own, against known values."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import gdjax as gd
from experiments.batch_sizes import __main__ as batch_sizes
from experiments.catapult import __main__ as catapult
from experiments.central_flow import __main__ as central_flow
from experiments.edge_of_stability import __main__ as edge_of_stability
from experiments.gradient_anatomy import __main__ as gradient_anatomy
from experiments.hessian_spectrum import __main__ as hessian_spectrum
from experiments.initializations import __main__ as initializations
from experiments.learning_rates import __main__ as learning_rates
from experiments.roofline import __main__ as roofline
from experiments.schedules import quadratics
from experiments.shared.comparisons import p_values
from experiments.shared.images import pooled, shrunk
from gdjax.base import slabs
from gdjax.base.statistics import holm
from gdjax.sweeps.continued.absent_device import Kernel, Loop, loop_over_steps, loops


def test_the_deviation_from_2_is_the_largest_between_records_close_to_2():
    rising, falling = np.linspace(1, 1.9995, 50), np.linspace(1.99, 1, 9)
    product = np.r_[rising, np.full(40, 2.0004), falling]
    assert central_flow.at_edge(product) == pytest.approx(4e-4)
    assert central_flow.at_edge(rising) is None


def test_deviations_compare_equally_smoothed_costs():
    """The deviation is 3 % for predictions 3 % too high, and +inf after divergence."""
    cost = np.exp(-np.linspace(0, 3, 201))[None, None] * np.ones((2, 1, 1))
    cost[1, 0, 100:] = np.inf
    dims = ("learning_rate", "seed", "step")
    values = {"cost": (dims, cost), "mean_cost": (("model", *dims), 1.03 * cost[None])}
    deviation = central_flow.deviations(xr.Dataset(values, {"model": ["central"]}), 10.0)
    np.testing.assert_allclose(deviation["central"], [[0.03], [np.inf]])


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
    small, complete = shrunk("mnist5k", 4200), gd.data.load("mnist5k")
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
        problem = gd.Problem(network.init, lambda w, x: 0.0, images)
        slope = initializations.slope_of_layer(network, layer)(problem, params)
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
    program = slabs.Compiled(SimpleNamespace(as_text=lambda: TPU_TEXT))
    assert loops(program) == [step := loop_over_steps(program)]
    assert step == Loop(
        None, [Kernel("fusion", 4 * 64 * 16 * 32 + 32 * 784, 2 * 64 * 16 * 32 * 784)], 0
    )


def test_batch_sizes_are_compared_at_the_shortest_total_time_and_the_best_rate_of_that_epoch():
    """The best rate of batch size 1 depends on the epoch."""
    cost = np.array([[[9, 1, 1, np.nan], [9, 2, 0, np.nan]], [[9, 8, 7, 6], [9, 7, 6, 5]]])
    dims = ("batch_size", "learning_rate", "seed", "epoch")
    dataset = xr.Dataset(
        {"cost": (dims, cost[:, :, None]), "seconds_an_epoch": ("batch_size", [1.0, 0.6])},
        {"batch_size": [1, 4], "learning_rate": [0.1, 1.0], "epoch": np.arange(4)},
        {"baseline": 2.0},
    )
    # In 1.8 s, three epochs of 0.6 s are completed, but only one epoch of 1 s.
    ends = batch_sizes.ends(dataset)
    assert ends["epochs"].tolist() == [2, 2]
    assert ends["time"].tolist() == [1, 3]
    assert float(batch_sizes.runs_at_best_rate(dataset, 0, 1).learning_rate) == 0.1
    assert float(batch_sizes.runs_at_best_rate(dataset, 0, 2).learning_rate) == 1.0
    assert batch_sizes.epochs_to_half_baseline(dataset, 0) == 1
    assert batch_sizes.epochs_to_half_baseline(dataset, 1) == np.inf


@pytest.mark.parametrize(("x64", "error"), [(False, 1e-2), (True, 1e-9)])
def test_descents_of_linear_networks_satisfy_a_recursion_of_two_numbers(x64, error):
    """Hand-written descents run from 16 starts, at rates below and above 2 / k."""
    width, steps, starts = 64, 150, 16
    with jax.enable_x64(x64):
        U, v = jax.random.normal(jax.random.key(1), (2, starts, width))
        f, k = jnp.sum(U * v, 1) / np.sqrt(width), jnp.sum(U**2 + v**2, 1) / width
        shares = jnp.linspace(0.5, 3.5, starts)
        known = jax.vmap(catapult.two_numbers, (0, 0, 0, None, None))(f, k, shares, width, steps)

        def step(params, _):
            U, v = params
            f, k = jnp.sum(U * v, 1) / np.sqrt(width), jnp.sum(U**2 + v**2, 1) / width
            move = (shares / k0 * f / np.sqrt(width))[:, None]
            return (U - move * v, v - move * U), (f, k)

        k0 = k
        result = jax.lax.scan(step, (U, v), length=steps + 1)[1]
        for a, b in zip(result, known, strict=True):
            scale = np.max(np.abs(b), axis=1, keepdims=True)
            np.testing.assert_allclose(a.T / scale, b / scale, atol=error)


def test_the_curvature_is_the_largest_eigenvalue_of_the_full_kernel():
    with jax.enable_x64(True):
        problem = catapult.network(jnp.tanh, 20, 3)
        (U, v), k = jax.jit(problem.init)(gd.run_keys(0).init)
        x = problem.data[0]
        outputs = lambda U, v: v @ jnp.tanh(U @ x.T) / np.sqrt(20)  # noqa: E731
        slopes = jax.jit(jax.jacobian(outputs, (0, 1)))(U, v)
        J = np.concatenate([np.asarray(s).reshape(3, -1) for s in slopes], axis=1)
        assert float(k) == pytest.approx(np.linalg.eigvalsh(J @ J.T / 3)[-1], rel=1e-10)


def test_the_onset_of_a_square_root_is_recovered():
    rates = np.linspace(0, 1, 2000)
    assert catapult.onset(rates, np.sqrt(np.maximum(rates - 0.4, 0))) == pytest.approx(0.4)


def test_the_best_exponent_is_that_of_known_costs():
    exponents, peaks = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0]), np.geomspace(0.1, 10, 7)
    x, y = np.log(exponents / 1.8)[:, None], np.log(peaks)[None]
    costs = 3 + x**2 + (y - 0.3 * x - 0.1) ** 2
    assert quadratics.best_exponent(exponents, peaks, costs) == pytest.approx(1.8, rel=1e-3)
    lowest = quadratics.tuned(peaks, costs)
    np.testing.assert_allclose(lowest, 3 + x[:, 0] ** 2, rtol=1e-6)
    assert quadratics.vertex(np.arange(3.0), np.array([1.0, 2.0, 3.0])) == (0.0, 1.0)


@pytest.mark.parametrize("capacity", [1.5, 2.0])
def test_expected_costs_on_a_quadratic_are_close_to_those_of_the_exact_recursion(capacity):
    """E w_i^2 <- (1 - r_t lambda_i)^2 E w_i^2 + r_t^2 noise lambda_i, at small rates."""
    steps, peaks, two = 1000, np.array([0.01, 0.05]), np.array([0.5, 2.0])
    costs = quadratics.power_decay_costs(100, capacity, 1.0, steps, peaks)
    costs = costs[np.isin(quadratics.EXPONENTS, two)]
    i = np.arange(1.0, 101)
    values = i**-capacity
    squares = np.broadcast_to(i ** -(capacity + 1) / values, (2, 2, 100))
    for t in range(steps):
        rate = peaks[:, None] * (1 - t / steps) ** two[:, None, None]
        squares = (1 - rate * values) ** 2 * squares + rate**2 * values
    np.testing.assert_allclose(costs, squares @ values / 2, rtol=0.03)


@pytest.mark.parametrize("capacity", [1.5, 2.0])
def test_the_best_exponent_on_a_quadratic_approaches_2_beta_minus_1(capacity):
    """It rises slowly from below, since the theory holds for many steps."""
    best = []
    for steps in (10**3, 10**5, 10**7):
        peaks = quadratics.scaled_peaks(capacity, steps)
        costs = quadratics.power_decay_costs(2000, capacity, 1.0, steps, peaks)
        best.append(quadratics.best_exponent(quadratics.EXPONENTS, peaks, costs))
    away = 2 * capacity - 1 - np.array(best)
    assert away[0] > 1.5 * away[1] > 2.25 * away[2] > 0
    assert away[2] < 0.2 * (2 * capacity - 1)


def test_relative_distances_from_a_straight_path_have_closed_forms():
    """They are 0 for a shift in time, and 1 / t for a path beside it at distance 1."""
    t = np.arange(20.0)
    line = np.stack([t, 0 * t], axis=1)
    shifted = line + np.array([2.0, 0.0])
    beside = line + np.array([0.0, 1.0])
    at = np.isfinite(central_flow.relative_distances(shifted, line, 3))
    assert list(np.flatnonzero(at)) == list(range(3, 17))
    np.testing.assert_allclose(central_flow.relative_distances(shifted, line, 3)[at], 0)
    np.testing.assert_allclose(central_flow.relative_distances(beside, line, 3)[at], 1 / t[at])
    beside[10] = np.nan
    assert central_flow.relative_distances(beside, line, 3)[10] == np.inf


def test_ratios_of_one_infinite_distance_are_counted_and_of_two_are_omitted():
    inf = np.inf
    result = central_flow.ratio(np.array([1.0, inf, 1.0, inf]), np.array([2.0, 1.0, inf, inf]))
    assert result == [0.5, -inf, inf]
    assert central_flow.ratio(np.array([inf]), np.array([inf])) is None


def test_ratios_from_below_include_only_starts_below_the_edge():
    models, dims = list(central_flow.LABELS), ("model", "learning_rate", "seed", "step")
    distance = [[[[apart] * 4, [1.0] * 4]] for apart in (4.0, 2.0, 1.0, 0.5)]
    values = {
        "distance": (dims, distance),
        "mean_cost": (dims, np.ones((4, 1, 2, 4))),
        "product": ((*dims, "largest"), [[[[[1.5], [2], [2], [2]], [[2.5], [2], [2], [2]]]]] * 4),
        "completed": (dims[:-1], [[[True, True]]] * 4),
        "cost": (dims[1:], np.ones((1, 2, 4))),
    }
    part = xr.Dataset(values, {"model": models, "learning_rate": [0.3]})
    tree = central_flow.tree_of({"net": part}, smoothing=1.0)
    result = central_flow.numbers(tree)["case"]["net"]["rate"]["0.3"]
    assert result["rod_to_central_from_below"] == [0.5]
    assert result["model"]["gradient"]["ratio_to_central"][0] == (2 + 1) / 2
    assert result["model"]["rod"]["above_floor"] == 1


@pytest.mark.parametrize(("count", "null"), [(4, 0.0), (9, 1.0)])
def test_p_values_of_students_intervals_are_those_of_the_t_test(count, null):
    samples = np.random.default_rng(count).normal(0.5, 1, size=(3, count))
    triples = [gd.statistics.mean(one)[:3] for one in samples]
    known = stats.ttest_1samp(samples, null, axis=1).pvalue
    np.testing.assert_allclose(p_values(triples, null=null, freedom=count - 1), known, rtol=1e-6)


def test_holms_method_rejects_as_its_definition():
    """The k-th smallest of m is rejected if it and all smaller ones are at most 0.05/(m-k+1)."""
    for p in np.random.default_rng(0).uniform(0, 0.05, size=(50, 6)) ** 1.3:
        passed = np.sort(p) <= 0.05 / np.arange(6, 0, -1)
        rejected = 6 if passed.all() else np.argmin(passed)
        assert np.sum(holm(p) <= 0.05) == rejected
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])


def test_data_and_starts_are_those_of_the_published_code():
    """The data are 20 points of T5 = 16 x^5 - 20 x^3 + 5 x; starts are as in PyTorch.

    All initial weights and biases lie within +-1 / sqrt(inputs).
    """
    problem = edge_of_stability.chebyshev()
    x, y = problem.data
    np.testing.assert_allclose(y, 16 * x**5 - 20 * x**3 + 5 * x, atol=1e-12)
    assert x.shape == (20, 1)
    params = problem.init(jax.random.key(0))
    assert [np.shape(a) for layer in params for a in layer] == [(100, 1), (100,), (1, 100), (1,)]
    for layer, bound in zip(params, (1.0, 0.1), strict=True):
        for leaf in layer:
            assert float(jnp.max(jnp.abs(leaf))) <= bound
    assert float(jnp.max(jnp.abs(params[0].weights))) > 0.9


def test_the_tangent_network_differs_only_in_its_unbounded_outputs():
    problem = gd.problems.digits("mnist5k", samples=20)
    params = problem.init(jax.random.key(0))
    images, labels = (jnp.asarray(a) for a in problem.data)
    outputs = jnp.log(problem.predict(params, images)) - jnp.log1p(-problem.predict(params, images))
    known = jnp.mean(jnp.sum((0.5 + outputs / 4 - jax.nn.one_hot(labels, 10)) ** 2, axis=1))
    tangent = edge_of_stability.tangent_outputs(problem)
    assert float(tangent.cost(params, (images, labels))) == pytest.approx(float(known), rel=1e-4)
    same = jax.tree.map(jnp.array_equal, params, tangent.init(jax.random.key(0)))
    assert all(jax.tree.leaves(same))


def test_zero_gradients_can_be_drawn():
    checks = ("predicted", "actual", "second_order", "rounding")
    zero = xr.Dataset(
        {
            "gradient": (("stage", "entry"), np.zeros((2, 5))),
            "layer": ("entry", [1, 1, 1, 1, 2]),
            "position": (("stage", "top"), np.tile(np.arange(3), (2, 1))),
            **{name: (("stage", "top"), np.zeros((2, 3))) for name in checks},
        },
        {"epoch": ("stage", [0, 30])},
        {"places": [["layer 2: a", "b", "c"], ["d", "e", "f"]]},
    )
    gradient_anatomy.top_entries(zero).draw_without_rendering()
    figure = gradient_anatomy.predicted_actual(zero)
    figure.draw_without_rendering()
    assert figure.axes[-1].lines[0].get_xdata().size == 0


def test_half_of_the_squared_norm_belongs_to_the_largest_entries():
    assert gradient_anatomy.holding_half(np.array([3.0, -4.0, 0.0])) == 1
    assert gradient_anatomy.holding_half(np.ones(10)) in (5, 6)


def test_the_summary_contains_known_late_values():
    values = ("learning_rate", "seed", "step"), np.linspace(0.1, 1.0, 8) + np.zeros((1, 6, 8))
    case = xr.Dataset(
        dict.fromkeys(("cost", "sharpness", "step_curvature"), values) | {"limit": 1.0},
        {"learning_rate": [0.01], "step": np.arange(8)},
    )
    at = edge_of_stability.generalized_numbers(case)["rate"]["0.01"]
    np.testing.assert_allclose(at["sharpness"], [np.mean([6.1, 7]) / 7] * 3, 0.02)
    assert at["at_start"] == 0.1
