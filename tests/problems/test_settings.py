"""Problems at a setting, and what analyses say of settings without values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.sweeps import run_of

KEY = jax.random.key(0)
CURVATURES = jnp.array([1.0, 4.0])


def init(key, *, a=1.0):
    return a * jnp.ones(2)


def bowl():
    """Return (w * curvatures * w) / 2 + decay |w|^2, with eigenvalues curvatures + 2 decay."""

    def cost(w, *, decay=0.5):
        return jnp.sum(CURVATURES * w**2) / 2 + decay * jnp.sum(w**2)

    return gd.Problem(init=init, cost=cost)


def smallest(problem, params):
    pairs = gd.curvature.extreme_eigenpairs(problem, params, key=KEY, largest=0, smallest=1)
    return float(pairs.values[0])


def test_a_problem_at_a_setting_has_its_curvature():
    problem = bowl()
    assert smallest(problem.at(decay=1e-5), jnp.ones(2)) == pytest.approx(1 + 2e-5, abs=1e-6)
    assert problem.at(decay=0.0).at(decay=2.0).cost(jnp.ones(2)) == pytest.approx(2.5 + 4)
    assert problem.at(a=3.0).init(KEY).tolist() == [3.0, 3.0]
    with pytest.raises(InputError, match=r"at: rate = 0\.1, expected a keyword of the cost: decay"):
        problem.at(rate=0.1)


def test_an_analysis_says_once_which_default_of_a_swept_setting_it_uses():
    problem = bowl()
    assert smallest(problem, jnp.ones(2)) == pytest.approx(2)  # not swept: nothing to say
    gd.sweep(problem, gd.axes(learning_rate=[0.1], decay=[0.0, 1e-5]), 3)
    with pytest.warns(UserWarning, match=r"swept along decay, and has its default 0.5 here.*at\("):
        assert smallest(problem, jnp.ones(2)) == pytest.approx(2)
    smallest(problem, jnp.ones(2))  # warnings are errors
    gd.sweep(problem, gd.axes(learning_rate=[0.1], decay=[0.0, 1e-5]), 3)
    assert smallest(problem.at(decay=0.0), jnp.ones(2)) == pytest.approx(1)


def test_a_run_of_a_dataset_carries_its_settings(tmp_path):
    problem = bowl()
    grid = gd.axes(learning_rate=[0.1], decay=[0.0, 1.5])
    runs = gd.sweep(problem, grid, 3, store=tmp_path)
    for source in (runs, tmp_path):
        run = run_of(source, {"decay": 1.5, "learning_rate": 0.1}, problem)
        assert smallest(run.problem, run.params) == pytest.approx(4)
        np.testing.assert_allclose(run.params, (1 - 0.1 * (CURVATURES + 3)) ** 3, rtol=1e-5)
    with pytest.raises(InputError, match=r"Dataset of params.*expected that of gd.sweep"):
        run_of(runs.drop_attrs()[["params"]], {"decay": 1.5, "learning_rate": 0.1}, problem)


@pytest.mark.filterwarnings("error")
def test_analyses_bind_the_settings_of_the_runs_from_which_parameters_come(tmp_path):
    """Wells (x^2 - 1)^2 + decay x^2 have minima at x^2 = 1 - decay / 2 and the barrier
    1 - 3 decay^2 / 4 + ..., that is (1 - decay / 2)^2, between them.
    """

    def cost(w, *, decay=0.0):
        return (w[0] ** 2 - 1) ** 2 + w[1] ** 2 + decay * jnp.sum(w**2)

    problem = gd.Problem(lambda key, *, a=1.0: a * jnp.array([1.0, 0.1]), cost)
    grid = gd.axes(decay=[0.2, 1.0], a=[-1.0, 1.0], learning_rate=[0.05])
    runs = gd.sweep(problem, grid, 400, store=tmp_path / "runs")
    in_memory = gd.sweep(problem, grid, 400)
    like = jax.eval_shape(problem.init, KEY)
    for decay in (0.2, 1.0):
        ends = gd.params_of(runs, like, {"decay": decay, "learning_rate": 0.05})
        one = gd.params_of(runs, like, {"decay": decay, "learning_rate": 0.05, "a": 1.0})
        slope, own = 8 - 4 * decay, (1 - decay / 2) ** 2
        assert smallest(problem, one) == pytest.approx(min(slope, 2 + 2 * decay), rel=1e-4)
        chosen = {"decay": decay}
        points = (tmp_path / "runs", chosen), (runs, chosen), (in_memory, chosen), (ends, None)
        for where, at in points[:2] if decay == 1 else points[2:]:
            result = gd.minima.pairwise_barriers(problem, where, at, key=KEY)
            np.testing.assert_allclose(result.barrier[0, 1], own, rtol=1e-5)
        lowest = 1 - own
        axis = np.array([-0.5, 0.0, 0.5])
        line = gd.landscape.line(problem, one, jnp.array([1.0, 0.0]), axis)
        directions = {"x": jnp.array([1.0, 0.0]), "y": jnp.array([0.0, 1.0])}
        plane = gd.landscape.plane(problem, one, directions, axis, axis)
        for cost_there in (line.cost[1], plane.cost[1, 1]):
            assert float(cost_there) == pytest.approx(lowest, rel=1e-5)
        census = gd.minima.count_minima(problem, ends, key=KEY)
        np.testing.assert_allclose(census.minimum_cost, [lowest] * 2, rtol=1e-6)
        census = gd.minima.count_minima(problem, runs, {"decay": decay})
        again = gd.params_of(census, like, {"minimum": 0})
        assert smallest(problem, again) == pytest.approx(smallest(problem, one), rel=1e-4)
        tree = gd.minima.graph(problem, census, key=KEY)
        np.testing.assert_allclose(tree.merge_height, [1.0], rtol=1e-6)
        assert smallest(problem.at(decay=0.0), one) == pytest.approx(
            min(12 * (1 - decay / 2) - 4, 2), rel=1e-4
        )
    with pytest.raises(InputError, match="runs: the cost differs between runs with decay"):
        gd.minima.pairwise_barriers(problem, runs, key=KEY)
    mixed = gd.params_of(runs, like, {"learning_rate": 0.05, "a": 1.0})
    with pytest.warns(UserWarning, match="swept along decay, and has its default 0.0"):
        gd.minima.pairwise_barriers(problem, mixed, key=KEY)


def test_decay_is_an_axis_and_biases_may_decay():
    network = gd.problems.Network((1, 3, 1), "tanh", "identity", bias_scale=2.0)
    x = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    problem = gd.problems.decayed(network, (x, x**2), 1e-3)
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1], decay=[1e-3, 0.1], seed=range(400)), 0)
    start = gd.params_of(runs, jax.eval_shape(problem.init, KEY), {"decay": 0.1})
    squares = sum(np.sum(np.square(layer.weights), axis=(-2, -1)) for layer in start)
    cost = runs["cost"].isel(learning_rate=0, step=0).values
    np.testing.assert_allclose(cost[1] - cost[0], 0.099 * squares[0], rtol=1e-3, atol=1e-4)
    assert np.std(start[0].bias) == pytest.approx(2.0, rel=0.1)
    whole = gd.problems.decayed(network, (x, x**2), 0.5, biases=True)
    params = jax.tree.map(lambda leaf: leaf[0, 0], start)
    rest = whole.cost(params, whole.data) - problem.at(decay=0.5).cost(params, problem.data)
    assert float(rest) == pytest.approx(
        0.5 * sum(float(jnp.sum(b**2)) for _, b in params), rel=1e-4
    )
