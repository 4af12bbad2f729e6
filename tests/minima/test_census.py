"""Censuses: only minima are counted, none twice, equivalents are one, the store gives the same."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.errors import InputError, StoreError
from gdjax.minima.census import census, kinds
from gdjax.minima.counting import unseen
from gdjax.minima.ends import KINDS, certify
from gdjax.minima.stored import census_of
from gdjax.minima.symmetry import arrange, random_arrangement
from gdjax.problems.networks import Layer, Network
from gdjax.problems.problem import Measure, Problem

KEY = jax.random.key(0)


def named(codes):
    return [KINDS[code] for code in codes]


@cache
def xor(hidden=2, decay=1e-3, dark=0):
    """XOR with targets 0.1 and 0.9, decay of weights alone, and inputs that are always 0."""
    network = Network((2 + dark, hidden, 1), initializer="normal")
    inputs = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    inputs = jnp.concatenate([inputs, jnp.zeros((4, dark))], axis=1)
    targets = jnp.array([[0.1], [0.9], [0.9], [0.1]])

    def loss(outputs, targets):
        return jnp.mean(jnp.sum((outputs - targets) ** 2, axis=-1))

    def cost(params, batch):
        seen = [params[0].weights[:, :2], *(layer.weights for layer in params[1:])]
        return loss(network.apply(params, batch[0]), batch[1]) + decay * sum(
            jnp.sum(w**2) for w in seen
        )

    def right(params, batch):
        return jnp.mean((network.apply(params, batch[0]) > 0.5) == (batch[1] > 0.5), dtype=float)

    return Problem(
        init=network.init,
        cost=cost,
        data=(inputs, targets),
        measures={"right": Measure(right, (inputs, targets), long_name="share right")},
        predict=network.apply,
        loss=loss,
        network=network,
    )


def starts(problem, count, scale=1.0):
    keys = jax.random.split(jax.random.key(3), count)
    return jax.jit(jax.vmap(lambda key: problem.init(key, init_scale=scale)))(keys)


@pytest.fixture(scope="module")
def found():
    """Two dozen XOR networks, polished from their random starts."""
    problem = xor()
    return problem, census(problem, starts(problem, 24, 3.0), key=KEY)


def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def params_at(found, number):
    leaves = [
        jnp.asarray(found[name].values[number])
        for name in ("params.0.weights", "params.0.bias", "params.1.weights", "params.1.bias")
    ]
    return (Layer(*leaves[:2]), Layer(*leaves[2:]))


def test_planted_points_are_what_they_are():
    """Saddles and maxima to the last bit, and points where descents have to move first."""
    known = gd.problems.find("himmelblau")
    problem = gd.problems.function("himmelblau")
    planted = np.array([p.x for p in known.critical_points] + [(np.nan, 0.0)])
    found = census(problem, planted, key=KEY)
    expected = [p.kind for p in known.critical_points] + ["diverged"]
    assert named(found.kind.values) == expected
    assert kinds(found) == {"minimum": 4, "saddle": 4, "maximum": 1, "diverged": 1}
    assert found.sizes["minimum"] == 4
    assert found.minimum_of.values[4:].tolist() == [-1] * 6
    assert np.all(np.isinf(found.cost.values[-1:]))
    np.testing.assert_allclose(
        sorted(found.sharpness), [80.550, 82.284, 105.419, 133.786], atol=1e-3
    )
    np.testing.assert_allclose(found.share, 0.1)


@pytest.mark.parametrize(
    ("cost", "start", "expected"),
    [
        (lambda x: 0 * x, 1.0, "flat"),
        (lambda x: x**3, 0.0, "flat"),
        (lambda x: jnp.exp(-100 * x), 0.1, "sliding"),  # curvature 100 times the gradient
        (lambda x: jnp.exp(-x), 0.0, "flat"),
        (lambda x: -(x**2), 0.0, "maximum"),
        (lambda x: (x - 3) ** 4, 3.1, "minimum"),  # degenerate, but a minimum
    ],
)
def test_what_is_no_minimum_is_not_called_one(cost, start, expected):
    problem = Problem(init=lambda key: jnp.zeros(()), cost=cost)
    ends = certify(problem, jnp.array([start]), key=KEY)
    assert named(ends.kind) == [expected]


def test_a_run_that_stopped_short_is_reported_and_not_counted():
    """One step of polishing, at most 0.1 long, from 2 away."""
    problem = Problem(init=lambda key: jnp.zeros(()), cost=lambda x: x**2)
    found = census(problem, jnp.array([2.0, 0.0]), key=KEY, steps=1)
    assert named(found.kind.values) == ["not stationary", "minimum"]
    assert found["count"].values.tolist() == [1]
    np.testing.assert_allclose(found.gradient_norm_before, [4.0, 0.0])
    assert found.gradient_norm.values[0] > 1


def test_equivalents_of_one_network_are_one_minimum(found):
    problem, first = found
    params = params_at(first, 0)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(7), 20)
        equivalents = jax.jit(
            jax.vmap(
                lambda key: arrange(
                    problem.network, params, random_arrangement(problem.network, key)
                )
            )
        )(keys)
    again = census(problem, equivalents, key=KEY)
    assert again["count"].values.tolist() == [20]
    assert float(again.minimum_cost[0]) == pytest.approx(float(first.minimum_cost[0]))
    assert float(again.width[0]) < 1e-6


def test_different_minima_stay_different_and_have_barriers(found):
    _, first = found
    assert first.sizes["minimum"] > 2
    assert int(first["count"].sum()) == 24 == int((first.kind == 0).sum())
    # Far from any doubt: ends of one minimum agree to 1e-6, minima differ by more than 0.01.
    assert float(first.width.max()) < 1e-5
    assert float(first.gap) > 1e-2
    assert float(first.stable_from) < 1e-5 < 1e-2 < float(first.stable_to)
    assert np.all(np.diff(first.minimum_cost) > -1e-9)
    # Without weights the hidden biases are free: that one is a floor.
    free = first.minimum_nullity.values > 0
    assert np.all(first.least_curvature.values[~free] > 1e-5)
    np.testing.assert_allclose(first.minimum_cost.values[free], 0.16, atol=1e-6)
    away = ~np.eye(first.sizes["compared"], dtype=bool)
    assert np.all(first.barrier.values[away] > 0)
    assert np.all(first.matched_distance.values <= first.distance.values + 1e-9)


def test_what_is_said_about_a_minimum_is_so(found):
    """Cost, accuracy and eigenvalues against dense float64 at the stored parameters."""
    problem, first = found
    with jax.enable_x64(True):
        params = params_at(first, 0)
        flat, unravel = ravel_pytree(params)

        @jax.jit
        def dense(w):
            def f(w):
                return problem.cost(unravel(w), problem.data)

            return f(w), jax.grad(f)(w), jax.hessian(f)(w)

        cost, gradient, H = dense(flat)
        values = np.linalg.eigvalsh(H)
        assert float(cost) == pytest.approx(float(first.minimum_cost[0]))
        assert np.linalg.norm(gradient) < 1e-7
    assert values[[0, -1]] == pytest.approx(
        [float(first.least_curvature[0]), float(first.sharpness[0])], rel=1e-6
    )
    assert float(first.right[0]) == 1.0
    best = float(first.minimum_cost[0]) * (1 + 1e-9)
    assert np.all(first.cost.values >= best - 2e-9)


def test_estimates_are_those_of_the_counts(found):
    _, first = found
    estimate = unseen(first["count"].values)
    assert float(first.unseen_mass) == estimate.mass
    assert float(first.unseen_number) == pytest.approx(estimate.number)
    assert np.all((first.share_low <= first.share) & (first.share <= first.share_high))


def test_group_counts_over_decades(found):
    _, first = found
    assert int(first.groups[0]) <= 24
    assert np.all(np.diff(first.groups) <= 0)
    assert int(first.groups[-1]) == 1
    plateau = (first.tolerance > float(first.stable_from)) & (
        first.tolerance < float(first.stable_to)
    )
    assert np.all(first.groups[plateau] == first.sizes["minimum"])


def test_zero_error_minima_are_floors_that_compute_the_same():
    """2-3-1 without decay: 13 parameters, 4 equations, so floors of 9 dimensions."""
    problem = xor(hidden=3, decay=0.0)
    found = census(problem, starts(problem, 12, 2.0), key=KEY, steps=400)
    zero = found.minimum_cost.values < 1e-12
    assert zero.sum() >= 3
    assert np.all(found.minimum_nullity.values[zero] == 9)
    assert len(np.unique(found.same_outputs.values[zero])) == 1
    assert found.sizes["minimum"] == int(found["count"].sum())


def test_xor_with_inputs_wired_to_the_output_has_only_zero_error_minima():
    """One hidden neuron, a user's own cost on a dict: 7 parameters, 4 equations, floors of 3.

    Sprinkhuizen-Kuyper and Boers 1996, Neural Computation 8, 1301.
    """

    def cost(params, batch):
        inputs, targets = batch
        hidden = jax.nn.sigmoid(inputs @ params["in"] + params["bias"])
        outputs = jax.nn.sigmoid(hidden * params["out"] + inputs @ params["wired"] + params["last"])
        return jnp.mean((outputs - targets) ** 2)

    shapes = {"in": (2,), "wired": (2,), "bias": (), "out": (), "last": ()}
    data = (
        np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]),
        np.array([0.1, 0.9, 0.9, 0.1]),
    )
    problem = Problem(
        init=lambda key: jax.tree.map(jnp.zeros, shapes, is_leaf=lambda s: isinstance(s, tuple)),
        cost=cost,
        data=data,
    )
    rng = np.random.default_rng(0)
    runs = {name: 3 * rng.normal(size=(60, *shape)) for name, shape in shapes.items()}
    found = census(problem, runs, key=KEY, steps=400)
    assert kinds(found)["minimum"] >= 55
    minima = found.minimum_of.values >= 0
    assert found.cost.values[minima].max() < 1e-12
    assert np.all(found.nullity.values[minima] == 3)


def test_dead_weights_do_not_tell_networks_apart(found):
    """Weights of an input that is always 0 stay where they started, at random."""
    _, first = found
    problem = xor(dark=1)
    params = params_at(first, 0)
    with jax.enable_x64(True):
        dark = jax.random.normal(jax.random.key(5), (6, 2, 1))
        many = [
            (Layer(jnp.concatenate([params[0].weights, d], 1), params[0].bias), params[1])
            for d in dark
        ]
        found = census(problem, stack(*many), key=KEY)
    assert found.dead.values.tolist() == [2] * 6
    assert found["count"].values.tolist() == [6]


def test_a_cost_that_its_symmetries_change_is_refused():
    problem = xor()
    biased = dataclasses.replace(
        problem,
        cost=lambda p, b: problem.cost(p, b) + 0.1 * sum(jnp.sum(layer.bias**2) for layer in p),
    )
    with pytest.raises(InputError, match="decay of biases"):
        census(biased, starts(biased, 2), key=KEY)
    plain = dataclasses.replace(biased, network=None)
    assert census(plain, starts(plain, 2), key=KEY).sizes["run"] == 2


def test_params_without_runs_are_refused():
    problem = gd.problems.function("himmelblau")
    for params in (jnp.zeros(2), jnp.zeros((0, 2))):
        with pytest.raises(InputError, match="leading axis of at least one run"):
            census(problem, params, key=KEY)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tolerance": -1.0}, "tolerance = -1.0, expected a number above 0"),
        ({"gradient_tolerance": np.inf}, "gradient_tolerance = inf"),
        ({"eigenvalue_tolerance": np.nan}, "eigenvalue_tolerance = nan"),
        ({"steps": -1}, "steps = -1, expected 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        census(gd.problems.function("himmelblau"), jnp.zeros((3, 2)), key=KEY, **settings)


def test_costs_that_cannot_be_descended_are_refused():
    vector = Problem(init=lambda key: jnp.zeros(2), cost=lambda w: w**2)
    with pytest.raises(InputError, match="expected one scalar"):
        census(vector, jnp.zeros((3, 2)), key=KEY)
    whole = Problem(init=lambda key: jnp.zeros(2, int), cost=lambda w: jnp.sum(w**2))
    with pytest.raises(InputError, match="expected a real float"):
        census(whole, jnp.zeros((3, 2), int), key=KEY)
    nowhere = Problem(init=lambda key: jnp.zeros(2), cost=lambda w: jnp.sum(w) * jnp.nan)
    assert kinds(census(nowhere, jnp.ones((3, 2)), key=KEY)) == {"undecided": 3}


def test_rastrigin_from_random_starts():
    """2,000 starts, 20 seeds: all among the 121, none twice, the unseen covered in 19 of 20."""
    problem = gd.problems.function("rastrigin")
    minima = np.array([p.x for p in gd.problems.find("rastrigin").minima])
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.002], seed=range(40000)), 200)
    ends = runs["params"].values[0]
    distance = np.linalg.norm(ends[:, None] - minima, axis=-1)
    assert distance.min(axis=1).max() < 1e-3
    covered = []
    for number in distance.argmin(axis=1).reshape(20, 2000):
        count = np.bincount(number, minlength=121)
        found = unseen(count[count > 0])
        covered.append(found.number_low <= np.sum(count == 0) <= found.number_high)
    assert sum(covered) >= 19
    found = census(problem, ends[:2000], key=KEY)
    assert kinds(found) == {"minimum": 2000}
    places = found["params"].values
    nearest = np.linalg.norm(places[:, None] - minima, axis=-1)
    assert nearest.min(axis=1).max() < 1e-7
    assert len(np.unique(nearest.argmin(axis=1))) == found.sizes["minimum"]
    seen = len(np.unique(distance.argmin(axis=1)[:2000]))
    assert found.sizes["minimum"] == seen


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("census") / "runs.zarr"
    gd.sweep(
        gd.problems.function("quartic"),
        gd.axes(learning_rate=[0.02, 3.0], seed=range(8)),
        60,
        store=path,
    )
    return path


def test_the_same_from_the_store_alone_twice(store):
    first, second = census_of(store), census_of(store)
    assert first.identical(second)
    # At rate 3 everything blows up.
    assert kinds(first) == {"minimum": 8, "diverged": 8}
    assert named(first.kind.sel(run=first.learning_rate == 3.0).values) == ["diverged"] * 8
    minima = [p.x for p in gd.problems.find("quartic").minima]
    np.testing.assert_allclose(first["params"], minima, atol=1e-7)


def test_some_runs_of_a_store(store):
    found = census_of(store, {"learning_rate": 0.03})
    assert found.sizes["run"] == 8
    assert found.seed.values.tolist() == list(range(8))
    with pytest.raises(InputError, match="expected an axis of learning_rate, seed"):
        census_of(store, {"rate": 1.0})


def test_a_cost_that_differs_from_run_to_run_has_no_census(tmp_path):
    problem = gd.problems.function("two_factors")
    grid = gd.axes(target=[1.0, 2.0], learning_rate=[0.1], seed=range(2))
    gd.sweep(problem, grid, 5, store=tmp_path / "s")
    with pytest.raises(InputError, match="target makes the cost differ"):
        census_of(tmp_path / "s")
    found = census_of(tmp_path / "s", {"target": 2.0})
    a, b = found["params"].values.T
    np.testing.assert_allclose(a * b, 2.0, atol=1e-6)


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match="no store"):
        census_of(tmp_path / "nothing")
