"""Barriers, compared with closed forms, and curves between minima."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.interpolate import BPoly

import gdjax as gd
from gdjax.minima.paths import (
    bezier,
    curve,
    evaluate_path,
    linear_path,
    path_barrier,
    path_cost,
)
from gdjax.problems.networks import Network

KEY = jax.random.key(0)


def well(x):
    """Return (x^2 - 1)^2, with minima of 0 at -1 and 1 and a maximum of 1 at 0."""
    return (x**2 - 1) ** 2


def hills(w):
    """Return a ridge at x = 0, which is lower at y < 0, plus a bowl."""
    return jnp.exp(-2 * w[0] ** 2) * jax.nn.sigmoid(4 * w[1] + 2) + 0.01 * jnp.sum(w**2)


class TestShapes:
    def test_bezier_equals_the_sum_of_bernstein_polynomials(self):
        for n in (1, 2, 5):
            control = np.random.default_rng(n).normal(size=(n + 1, 3))
            for t in (0.0, 0.3, 1.0):
                expected = BPoly(control[:, None], [0, 1])(t)
                result = evaluate_path({"a": jnp.array(control)}, bezier(n + 1, t))
                np.testing.assert_allclose(result["a"], expected, atol=1e-6)

    def test_paths_begin_and_end_exactly_at_their_end_points(self):
        control = jax.random.normal(KEY, (4, 7))
        assert np.array_equal(evaluate_path(control, bezier(4, 0.0)), control[0])
        assert np.array_equal(evaluate_path(control, bezier(4, 1.0)), control[-1])


class TestBarrier:
    def test_the_barrier_of_a_bowl_is_zero(self):
        for a, b in ((-1.0, 3.0), (0.2, 0.9), (1.0, 1.0)):
            cost = path_cost(lambda x: 3 * x**2 - x, linear_path(a, b))
            assert float(path_barrier(cost)) == 0

    def test_the_barrier_between_unequal_costs_is_relative_to_their_interpolation(self):
        """The costs 0 and 2 at both ends are interpolated by 1 + x, which is the added term."""
        cost = path_cost(lambda x: well(x) + 1 + x, linear_path(-1.0, 1.0))
        np.testing.assert_allclose(cost[jnp.array([0, -1])], [0, 2], atol=1e-6)
        np.testing.assert_allclose(path_barrier(cost), 1, atol=1e-6)

    def test_a_barrier_is_computed_for_each_path(self):
        costs = jnp.array([[[0.0, 1.0, 0.0], [0.0, 0.5, 1.0]], [[2.0, 1.0, 0.0], [0.0, 3.0, 2.0]]])
        assert path_barrier(costs).tolist() == [[1, 0], [0, 2]]

    def test_the_barrier_of_non_finite_costs_is_not_finite(self):
        assert np.isnan(float(path_barrier(jnp.array([0.0, jnp.nan, 0.0]))))
        assert np.isinf(float(path_barrier(jnp.array([0.0, jnp.inf, 0.0]))))


class TestStraight:
    def test_values_on_a_line_equal_those_of_interpolated_networks(self):
        network = Network((3, 4, 2))
        a, b = (jax.jit(network.init)(jax.random.key(k)) for k in (1, 2))
        rng = np.random.default_rng(0)
        # Three microbatches, the last one shorter.
        data = rng.normal(size=(2300, 3)), rng.integers(0, 2, 2300)

        def look(params, batch):
            outputs = network.apply(params, batch[0])
            return {
                "cost": jnp.mean(gd.problems.quadratic(outputs, batch[1])),
                "accuracy": gd.problems.accuracy(outputs, batch[1]),
            }

        problem = gd.problems.as_problem(look, data)
        result = jax.jit(lambda *ends: path_cost(problem, linear_path(*ends), points=5))(a, b)
        sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
        for k, t in enumerate((0, 0.25, 0.5, 0.75, 1)):
            w, b1, v, b2 = (
                (1 - t) * np.asarray(x, float) + t * np.asarray(y, float)
                for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
            )
            outputs = sigmoid(sigmoid(data[0] @ w.T + b1) @ v.T + b2)
            cost = np.mean(np.sum((outputs - np.eye(2)[data[1]]) ** 2, axis=1))
            np.testing.assert_allclose(result["cost"][k], cost, rtol=1e-5)
            right = np.mean(np.argmax(outputs, axis=1) == data[1])
            np.testing.assert_allclose(result["accuracy"][k], right, atol=1.01 / 2300)

    def test_costs_of_linear_paths_can_be_vmapped_over_pairs(self):
        a, b = jnp.array([-1.0, 0.0]), jnp.array([1.0, 1.0])
        result = jax.vmap(lambda a, b: path_cost(well, linear_path(a, b), points=3))(a, b)
        np.testing.assert_allclose(result, [[0, 1, 0], [1, 0.5625, 0]], atol=1e-6)

    def test_float64_numpy_arrays_are_accepted_without_a_warning(self):
        """Float64 arguments are rounded to float32; a warning would be an error in these tests."""
        cost = path_cost(well, np.array([-1.0, 1.0]), points=3)
        np.testing.assert_allclose(cost, [0, 1, 0], atol=1e-6)


class TestCurve:
    land = gd.Problem(init=lambda key: jnp.zeros(2), cost=hills)
    a, b = jnp.array([-2.0, 0.0]), jnp.array([2.0, 0.0])

    def test_the_cost_of_a_curve_is_the_mean_along_the_path(self):
        """The mean of x^2 along a line from a to b is (a^2 + a b + b^2) / 3."""
        bowl = gd.Problem(init=lambda key: jnp.zeros(()), cost=lambda x: x**2)
        a, b = -1.0, 4.0
        path = curve(bowl, jnp.array(a), jnp.array(b), nodes=2)
        start = jax.jit(path.init)(KEY)
        np.testing.assert_allclose(path.cost(start), (a * a + a * b + b * b) / 3, rtol=1e-6)
        # On the path x = 2 t (1 - t) w from 0 to 0, the mean of x^2 is 4 w^2 / 30.
        bent = curve(bowl, jnp.zeros(()), jnp.zeros(()), nodes=3)
        np.testing.assert_allclose(bent.cost(jnp.array([0.0, 3.0, 0.0])), 36 / 30, rtol=1e-6)

    @pytest.mark.long
    @pytest.mark.parametrize("bends", [1, 3])
    def test_a_trained_curve_avoids_the_ridge_that_the_straight_line_crosses(self, bends):
        path = curve(self.land, self.a, self.b, bends=bends)
        start = jax.jit(path.init)(KEY)
        run = gd.descend(path, optax.adam(0.1), start, 300, key=KEY, record_every=300)
        before = path_barrier(path_cost(hills, start, points=101))
        after = path_barrier(path_cost(hills, run.params, points=101))
        np.testing.assert_allclose(before, hills(jnp.zeros(2)) - 0.04, atol=1e-3)
        assert float(after) < 0.1 * float(before)
        assert run.cost[-1] < 0.5 * run.cost[0]

    def test_training_does_not_change_the_end_points_of_a_curve(self):
        path = curve(self.land, self.a, self.b, bends=2)
        gradient = jax.jit(jax.grad(path.cost))(jax.jit(path.init)(KEY))
        assert not np.any(gradient[jnp.array([0, -1])])
        assert np.all(np.any(np.asarray(gradient[1:-1]) != 0, axis=1))
        for optimizer in (optax.sgd(0.3, momentum=0.9), optax.adam(0.1)):
            run = gd.descend(path, optimizer, jax.jit(path.init)(KEY), 20, key=KEY)
            assert np.array_equal(run.params[0], self.a)
            assert np.array_equal(run.params[-1], self.b)

    @pytest.mark.long
    def test_curves_between_many_pairs_are_trained_in_one_sweep(self):
        a = jnp.stack([self.a, self.a + 0.5, self.b])
        b = jnp.stack([self.b, self.b, self.a])
        path = curve(self.land, a, b)
        runs = gd.sweep(
            path, gd.axes(pair=range(3), learning_rate=[0.5]), 10, make_optimizer=optax.sgd
        )
        for k in range(3):
            one = curve(self.land, a[k], b[k])
            run = gd.descend(one, optax.sgd(0.5), one.init(KEY), 10, key=KEY)
            np.testing.assert_allclose(runs.cost[k, 0], run.cost, rtol=1e-5)
            result = gd.params_of(runs, run.params, {"pair": k, "learning_rate": 0.5})
            np.testing.assert_allclose(result, run.params, atol=1e-5)

    def test_curves_between_other_end_points_use_the_same_program(self, compilations):
        optimizer = optax.sgd(0.1)
        land = gd.Problem(init=lambda key: jnp.zeros(2), cost=lambda w: jnp.sum(w**2))
        for shift in (0.0, 1.0):
            path = curve(land, self.a + shift, self.b)
            start = jax.jit(path.init)(KEY)
            compilations.clear()
            gd.descend(path, optimizer, start, 3, key=KEY)
        assert compilations == []
