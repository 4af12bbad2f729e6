"""Censuses of minima, which are counted up to symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from some_networks import XOR_INPUTS, XOR_TARGETS, equivalents, named, xor

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.minima.census import count_minima
from gdjax.minima.counting import estimate_unseen
from gdjax.minima.end_points import classify_end_points, count_kinds
from gdjax.problems.problem import Problem

KEY = jax.random.key(0)
XOR_STARTS = 300


def starts(problem, count, scale=1.0):
    keys = jax.random.split(jax.random.key(3), count)
    return jax.jit(jax.vmap(lambda key: problem.init(key, init_scale=scale)))(keys)


@pytest.fixture(scope="module")
def census():
    """Return XOR with an input that is always 0, and the census of 24 polished random starts."""
    problem = xor(dark=1)
    return problem, count_minima(problem, starts(problem, 24, 3.0), key=KEY)


def params_at(census, number):
    like = jax.eval_shape(xor(dark=1).init, KEY)
    return gd.params_of(census, like, {"minimum": number})


def test_planted_critical_points_have_their_known_kinds():
    """The end points are all critical points of Himmelblau's function, and a NaN."""
    known = gd.problems.FUNCTIONS["himmelblau"]
    problem = gd.problems.from_function("himmelblau")
    planted = np.array([p.x for p in known.critical_points] + [(np.nan, 0.0)])
    census = count_minima(problem, planted, key=KEY)
    words = {"minimum": "strict minimum", "maximum": "strict maximum", "saddle": "saddle"}
    expected = [words[p.kind] for p in known.critical_points] + ["diverged"]
    assert named(census.kind.values) == expected
    assert count_kinds(census) == {
        "strict minimum": 4,
        "strict maximum": 1,
        "saddle": 4,
        "diverged": 1,
    }
    assert census.sizes["minimum"] == 4
    assert census.minimum_of.values[4:].tolist() == [-1] * 6
    assert np.all(np.isinf(census.cost.values[-1:]))
    np.testing.assert_allclose(
        sorted(census.sharpness), [80.550, 82.284, 105.419, 133.786], atol=1e-3
    )
    np.testing.assert_allclose(census.share, 0.1)
    # A census with the names of earlier versions can be read and plotted.
    former = census.rename(flat_length="floor_length")
    meanings = former.kind.attrs["flag_meanings"].replace("manifold_of_minima", "floor")
    former["kind"] = former.kind.assign_attrs(flag_meanings=meanings)
    assert count_kinds(former) == count_kinds(census)
    assert gd.plot(former).axes


def test_the_lowest_point_of_ackley_has_no_derivative():
    problem = gd.problems.from_function("ackley")
    starts = np.array([(0.01, -0.004), (-0.003, 0.002), (0.96, 0.01), (0.0, -0.94)])
    census = count_minima(problem, starts, key=KEY)
    assert named(census.kind.values) == ["no derivative"] * 2 + ["strict minimum"] * 2
    assert census.sizes["minimum"] == 2
    # The slope of the cone is 4 / sqrt(2) in every direction.
    np.testing.assert_allclose(census.slope.values[:2], 8**0.5, rtol=1e-2)


def test_manifolds_of_minima_are_counted_by_connecting_paths():
    """The two branches of a b = 1 are manifolds of dimension one."""
    problem = gd.problems.from_function("two_factors")
    starts = np.random.default_rng(0).uniform(0.5, 2, size=(12, 2)) * np.repeat([[1], [-1]], 6, 0)
    census = count_minima(problem, starts, key=KEY)
    assert count_kinds(census) == {"manifold of minima": 12}
    assert census.sizes["minimum"] == 0
    assert census.manifold_count.values.tolist() == [6, 6]
    assert census.manifold_nullity.values.tolist() == [1, 1]
    assert census.manifold_of.values.tolist() == [0] * 6 + [1] * 6
    assert "unseen_mass" not in census
    assert float(census.unseen_manifold_mass) == 0


def test_xor_with_decay_has_six_strict_minima_and_manifolds():
    """Two minima of the 2-2-1 network have cost 0.0138, and four have cost 0.0929."""
    problem = xor(decay=1e-4)
    rng = np.random.default_rng(0)
    like = jax.eval_shape(problem.init, jax.random.key(0))
    random = jax.tree.map(lambda a: 3 * rng.normal(size=(XOR_STARTS, *a.shape)), like)
    census = count_minima(problem, random, key=KEY, max_steps=400)
    costs = census.minimum_cost.values
    assert np.sum(np.abs(costs - 0.0138) < 1e-4) == 2
    assert np.sum(np.abs(costs - 0.0929) < 1e-4) == 4
    assert len(costs) == 6
    assert np.all(census.least_curvature > 0)
    # Manifolds of minima have a cost near 0.116, or 0.16 if all weights are zero.
    near = np.abs(census.manifold_cost - 0.116) < 1e-3
    assert near.sum() >= 1
    assert np.all(near | (np.abs(census.manifold_cost - 0.16) < 1e-6))
    assert np.all(census.manifold_nullity > 0)
    # Counts and estimates are those of isolated minima.
    draws = int(np.sum(census.minimum_of >= 0))
    assert int(census.unseen_draws) == int(census["count"].sum()) == draws


def parabola(scale):
    """Return scale x^2; all scales share a program."""
    return Problem(
        init=lambda key: jnp.zeros(()),
        cost=lambda x, scale: jnp.mean(scale) * x**2,
        data=np.array([scale]),
    )


def test_a_run_that_has_not_converged_is_reported_and_not_counted():
    """A single polishing step of length at most 0.1 starts at distance 2."""
    census = count_minima(parabola(1.0), jnp.array([2.0, 0.0]), key=KEY, max_steps=1)
    assert named(census.kind.values) == ["not stationary", "strict minimum"]
    assert census["count"].values.tolist() == [1]
    np.testing.assert_allclose(census.gradient_norm_before, [4.0, 0.0])
    assert census.gradient_norm.values[0] > 1


def test_points_with_nan_costs_are_undecided():
    census = count_minima(parabola(np.nan), jnp.ones(2), key=KEY, max_steps=1)
    assert count_kinds(census) == {"undecided": 2}


def test_equivalent_networks_are_counted_as_one_minimum(census):
    problem, first = census
    params = params_at(first, 0)
    with jax.enable_x64(True):
        others = equivalents(problem.network, params, 24)  # as many as in `census`: one program
    again = count_minima(problem, others, key=KEY)
    assert again["count"].values.tolist() == [24]
    assert float(again.minimum_cost[0]) == pytest.approx(float(first.minimum_cost[0]))
    assert float(again.diameter[0]) < 1e-6


def test_different_minima_are_distinguished_and_separated_by_barriers(census):
    _, first = census
    assert first.sizes["minimum"] > 2
    on_manifolds = int(first.manifold_count.sum())
    assert int(first["count"].sum()) + on_manifolds == 24
    # End points of one minimum agree within 1e-5, and minima differ by more than 0.01.
    assert float(first.diameter.max()) < 1e-5
    assert float(first.gap) > 1e-2
    assert float(first.stable_from) < 1e-5 < 1e-2 < float(first.stable_to)
    assert np.all(np.diff(first.minimum_cost) > -1e-9)
    assert np.all(first.least_curvature > 1e-5)
    # If all weights are zero, hidden biases are free: these points form one manifold of minima.
    np.testing.assert_allclose(first.manifold_cost.values, 0.16, atol=1e-6)
    assert first.sizes["manifold"] <= 1
    away = ~np.eye(first.sizes["compared"], dtype=bool)
    assert np.all(first.barrier.values[away] > 0)
    assert np.all(first.matched_distance.values <= first.distance.values + 1e-9)
    estimate = estimate_unseen(first["count"].values)
    assert float(first.unseen_mass) == estimate.mass
    assert float(first.unseen_number) == pytest.approx(estimate.number)
    assert np.all((first.share_low <= first.share) & (first.share <= first.share_high))
    stable = (first.tolerance > first.stable_from) & (first.tolerance < first.stable_to)
    assert np.all(first.clusters[stable] == first.sizes["minimum"])
    assert int(first.clusters[-1]) == 1


def test_variables_of_a_minimum_agree_with_direct_evaluation(census):
    """Cost, accuracy and eigenvalues equal those evaluated in float64."""
    problem, first = census
    with jax.enable_x64(True):
        params = params_at(first, 0)
        flat, unravel = ravel_pytree(params)

        @jax.jit
        def dense(w):
            def f(w):
                return problem.cost(unravel(w), problem.data)

            return f(w), jax.grad(f)(w), jax.hessian(f)(w)

        cost, gradient, H = dense(flat)
        alive = np.any(H != 0, axis=1)  # all but the weights of the input that is always 0
        values = np.linalg.eigvalsh(H[alive][:, alive])
        assert float(cost) == pytest.approx(float(first.minimum_cost[0]))
        assert np.linalg.norm(gradient) < 1e-7
    assert values[[0, -1]] == pytest.approx(
        [float(first.least_curvature[0]), float(first.sharpness[0])], rel=1e-6
    )
    assert float(first.right[0]) == 1.0
    best = float(first.minimum_cost[0]) * (1 + 1e-9)
    assert np.all(first.cost.values >= best - 2e-9)


def test_minima_without_error_form_manifolds_with_equal_outputs():
    """With 13 parameters and 4 equations, the manifolds have dimension 9."""
    problem = xor(hidden=3, decay=0.0)
    census = count_minima(problem, starts(problem, 12, 2.0), key=KEY, max_steps=400)
    zero = census.manifold_cost.values < 1e-12
    assert census.manifold_count.values[zero].sum() >= 3
    assert np.all(census.manifold_nullity.values[zero] == 9)
    assert len(np.unique(census.manifold_function.values[zero])) == 1


def test_xor_with_skip_connections_has_only_zero_error_minima():
    """With 7 parameters and 4 equations, the manifolds have dimension 3.

    See Sprinkhuizen-Kuyper and Boers 1996, Neural Computation 8, 1301.
    """

    def cost(params, batch):
        inputs, targets = batch
        hidden = jax.nn.sigmoid(inputs @ params["in"] + params["bias"])
        outputs = jax.nn.sigmoid(hidden * params["out"] + inputs @ params["wired"] + params["last"])
        return jnp.mean((outputs - targets) ** 2)

    shapes = {"in": (2,), "wired": (2,), "bias": (), "out": (), "last": ()}
    init = lambda key: {name: jnp.zeros(shape) for name, shape in shapes.items()}  # noqa: E731
    problem = Problem(init, cost, (XOR_INPUTS, XOR_TARGETS[:, 0]))
    rng = np.random.default_rng(0)
    runs = {name: 3 * rng.normal(size=(60, *shape)) for name, shape in shapes.items()}
    census = count_minima(problem, runs, key=KEY, max_steps=400)
    assert count_kinds(census)["manifold of minima"] >= 55
    level = census.manifold_of.values >= 0
    assert census.cost.values[level].max() < 1e-12
    assert np.all(census.nullity.values[level] == 3)
    assert census.sizes["minimum"] == 0


def test_networks_that_differ_only_in_dead_weights_count_as_one_minimum(census):
    """Weights of an input that is always 0 have random values."""
    problem, first = census
    hidden, output = jax.tree.map(lambda a: jnp.stack([a] * 24), params_at(first, 0))
    dark = jax.random.normal(jax.random.key(5), (24, 2))
    runs = hidden._replace(weights=hidden.weights.at[:, :, 2].set(dark)), output
    again = count_minima(problem, runs, key=KEY)
    assert again.dead.values.tolist() == [2] * 24
    assert again["count"].values.tolist() == [24]


def test_minima_of_rastrigin_are_counted_from_random_starts():
    """Minima are among the 121 known ones; at least 19 of 20 lower bounds hold."""
    problem = gd.problems.from_function("rastrigin")
    minima = np.array([p.x for p in gd.problems.FUNCTIONS["rastrigin"].minima])
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.002], seed=range(10000)), 200)
    ends = runs["params"].values[0]
    distance = np.linalg.norm(ends[:, None] - minima, axis=-1)
    assert distance.min(axis=1).max() < 1e-3
    covered = []
    for number in distance.argmin(axis=1).reshape(20, 500):
        count = np.bincount(number, minlength=121)
        census = estimate_unseen(count[count > 0])
        covered.append(census.number_low <= np.sum(count == 0))
    assert sum(covered) >= 19
    census = count_minima(problem, ends[:500], key=KEY)
    assert count_kinds(census) == {"strict minimum": 500}
    positions = census["params"].values
    nearest = np.linalg.norm(positions[:, None] - minima, axis=-1)
    assert nearest.min(axis=1).max() < 1e-7
    assert len(np.unique(nearest.argmin(axis=1))) == census.sizes["minimum"]
    observed = len(np.unique(distance.argmin(axis=1)[:500]))
    assert census.sizes["minimum"] == observed


ENDS = (
    (lambda x: 0 * x, 1.0, "manifold of minima"),  # constant within the probed radius
    (lambda x: x**3, 0.0, "degenerate saddle"),
    (lambda x: jnp.exp(-100 * x), 0.1, "sliding"),  # curvature 100 times the gradient
    (lambda x: jnp.exp(-x), 0.0, "sliding"),
    # The second coordinate is dead, so the maximum is not strict.
    (lambda x: -(x**2), 0.0, "undecided"),
    (lambda x: (x - 3) ** 4, 3.1, "degenerate minimum"),
    (lambda x: jnp.abs(x - 0.3), 0.4, "no derivative"),
    (lambda x: 5 * (x - 0.5) ** 2, np.inf, "diverged"),
    (lambda x: 5 * (x - 0.5) ** 2, 1.5, "strict minimum"),
)


def test_end_points_have_their_known_kinds():
    """The second parameter selects a cost that depends on the first one only."""

    def cost(w):
        return jnp.select([w[1] < i + 0.5 for i in range(len(ENDS))], [f(w[0]) for f, *_ in ENDS])

    problem = Problem(init=lambda key: jnp.zeros(2), cost=cost)
    starts = jnp.array([(start, i) for i, (_, start, _) in enumerate(ENDS)], float)
    ends = classify_end_points(problem, starts, key=KEY)
    assert named(ends.kind) == [expected for *_, expected in ENDS]
    # Newton's method reaches the minimum of the parabola in one step; its curvature is 10.
    np.testing.assert_allclose(ends.params[-1], [0.5, len(ENDS) - 1])
    parabola = ends.runs.isel(run=-1)
    expected = {
        "moved": 1,
        "cost_before": 5,
        "gradient_norm_before": 10,
        "smallest": 10,
        "largest": 10,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(parabola[name], value, err_msg=name)
    assert (int(parabola.dead), int(parabola.nullity)) == (1, 0)
    assert ends.runs.cost_before[-2] == np.inf


QUARTIC = gd.problems.from_function("quartic")
RATES, SEEDS, MOMENTA = [0.02, 0.03, 3.0, 3.1], [2, 3, 4, 5], [0.0, 0.1]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return the path of a sweep with a dimension named run, half of whose runs diverge."""
    path = tmp_path_factory.mktemp("census") / "runs.zarr"
    along = gd.zip_axes(learning_rate=RATES, seed=SEEDS)
    gd.sweep(QUARTIC, gd.axes(run=along, momentum=MOMENTA), 60, store=path)
    return path


def test_the_census_of_a_store_is_reproducible(store):
    first, second = count_minima(None, store), count_minima(QUARTIC, gd.open_dataset(store))
    assert first.drop_attrs().identical(second.drop_attrs())
    assert named(first.kind.values) == ["strict minimum"] * 4 + ["diverged"] * 4
    minima = [p.x for p in gd.problems.FUNCTIONS["quartic"].minima]
    np.testing.assert_allclose(first["params"], minima, atol=1e-7)
    np.testing.assert_array_equal(first.learning_rate, np.repeat(RATES, 2))
    np.testing.assert_array_equal(first.seed, np.repeat(SEEDS, 2))
    np.testing.assert_array_equal(first.momentum, MOMENTA * 4)


def test_runs_of_a_sweep_can_be_selected(store):
    part = count_minima(None, store, {"learning_rate": 0.03})
    assert part.seed.values.tolist() == [3, 3]
    assert part.momentum.values.tolist() == MOMENTA
    result, runs = count_minima(None, store, {"momentum": 0.0}), gd.open_dataset(store)
    assert result.seed.values.tolist() == SEEDS
    for selected in (
        count_minima(QUARTIC, runs, {"momentum": 0.0}),
        count_minima(QUARTIC, runs.sel(momentum=0.0)),
    ):
        assert selected.drop_attrs().identical(result.drop_attrs())


def test_a_sweep_whose_cost_differs_between_runs_is_rejected():
    problem = gd.problems.from_function("two_factors")
    grid = gd.axes(target=[1.0, 2.0], learning_rate=[0.1], seed=range(2))
    runs = gd.sweep(problem, grid, 500)
    with pytest.raises(InputError, match="the cost differs between runs with target"):
        count_minima(problem, runs)
    for result in (
        count_minima(problem, runs, {"target": 2.0}),
        count_minima(problem, runs.sel(target=2.0)),
    ):
        a, b = result["params"].values.T
        np.testing.assert_allclose(a * b, 2.0, atol=1e-6)
