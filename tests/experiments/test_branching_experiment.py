"""Barriers after a change of one weight: known values, and small networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import gdjax as gd
from experiments.branching import __main__ as branching
from gdjax.sweeps.continued.branch_spec import one_weight


def test_barriers_of_a_double_well_are_1_between_and_0_within_wells():
    """The cost is (p^2 - 1)^2 with the output bias p, which no symmetry changes."""
    network = gd.problems.Network((2, 3, 1), activation="tanh", output_activation="identity")
    start = network.init(jax.random.key(0))
    problem = gd.Problem(
        init=network.init,
        cost=lambda params: jnp.sum((params[-1].bias ** 2 - 1) ** 2),
        network=network,
    )
    hidden, last = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], 3, axis=0), start)
    first, second = (
        (hidden, last._replace(bias=np.array(biases, np.float32)[:, None]))
        for biases in ([-1, 1, -1], [1, 1, -1])
    )
    barriers = branching.barrier_between(problem, first, second, 5)
    np.testing.assert_allclose(barriers, [1, 0, 0], atol=1e-6)


def test_a_barrier_that_matching_removes_is_zero():
    network = gd.problems.Network((2, 4, 1), activation="tanh", output_activation="identity")
    key, key_x = jax.random.split(jax.random.key(0))
    start, x = network.init(key), jax.random.normal(key_x, (20, 2))
    outputs = network.apply(start, x)
    problem = gd.Problem(
        init=network.init,
        cost=lambda params: jnp.sum((network.apply(params, x) - outputs) ** 2),
        network=network,
    )
    order = np.array([2, 0, 3, 1])
    renamed = (
        start[0]._replace(weights=start[0].weights[order], bias=start[0].bias[order]),
        start[1]._replace(weights=start[1].weights[:, order]),
    )
    straight = gd.minima.path_barrier(
        gd.minima.path_cost(problem, gd.minima.linear_path(start, renamed), points=9)
    )
    assert straight > 0.01
    ends = jax.tree.map(lambda leaf: np.asarray(leaf)[None], (start, renamed))
    assert branching.barrier_between(problem, *ends, 9) < 1e-6


def test_a_barrier_of_at_least_half_the_median_of_independent_starts_is_another_valley():
    """The barriers are given, and the median between independent starts is 2."""
    known = np.array([0.0, 0.9, 1.0, 2.0]).reshape(1, 2, 1, 1, 2, 1)
    dims = ("initializer", "trunk", "branch_step", "perturbation", "layer", "change")
    dataset = xr.Dataset(
        {
            "barrier": (dims, known),
            "floor": (("initializer", "trunk"), [[0.0, 0.1]]),
            "independent": (("initializer", "pair"), [[1.0, 2.0, 5.0]]),
        },
        {"initializer": ["fan_in"], "branch_step": [0], "perturbation": [1.0], "layer": [1, 2]},
        {"steps": 9},
    )
    summary = branching.numbers(dataset)["initializer"]["fan_in"]
    assert summary["independent"] == [2.0, 1.0, 5.0]
    at = summary["perturbation"]["1"]["branch_step"]["0"]
    assert (at["another_valley"], at["at_least"]["0.25"], at["at_least"]["1"]) == (2, 3, 1)
    assert at["median_and_range"] == pytest.approx([0.475, 0.0, 1.0])
    assert [layer["another_valley"] for layer in at["layer"].values()] == [1, 1]
    share, low, high = at["share_of_starts_with_another_valley"]
    assert (share, low, high) == pytest.approx((0.5, 0.01258, 0.98742), abs=1e-4)
    above = dataset.assign(floor=10 + dataset.floor)
    assert not branching.in_another_valley(above).any()


def test_each_seed_changes_one_weight_with_nonzero_input_in_its_layer():
    problem = gd.problems.digits("mnist5k", widths=(4, 4), samples=300)
    seeds = branching.seeds_by_layer(problem, 3)
    assert seeds.shape == (3, 3)
    assert len(np.unique(seeds)) == 9
    params = problem.init(jax.random.key(0))
    for layer, chosen in enumerate(seeds):
        for key in gd.run_keys(0, perturbation_seed=chosen).perturbation:
            moved = jax.tree.map(lambda a, b: a != b, one_weight(key, params, 1.0), params)
            assert [int(part.weights.sum()) for part in moved] == list(np.eye(3)[layer])
            assert not any(part.bias.any() for part in moved)
            if layer == 0:
                assert np.asarray(problem.data[0])[:, np.argwhere(moved[0].weights)[0, 1]].any()
    with pytest.raises(gd.errors.InputError, match="trunks times changes = 1000, expected at most"):
        branching.seeds_by_layer(problem, 1000)


def test_reversed_pixels_give_the_same_descent_up_to_rounding():
    problem = gd.problems.digits("mnist5k", widths=(4, 4), samples=300)
    grid, settings = gd.axes(learning_rate=[3.0], seed=[0]), {"batch_size": 30, "metrics": {}}
    runs, backward = (
        gd.sweep(one, grid, 20, record_every=20, **settings)
        for one in (problem, branching.reversed_inputs(problem))
    )
    np.testing.assert_allclose(backward.cost, runs.cost, rtol=1e-5)
    ends = branching.ends_of(problem, runs)
    forward = branching.reversed_pixels(backward, problem)
    for a, b in zip(jax.tree.leaves(ends), jax.tree.leaves(forward), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert not np.array_equal(ends[0].weights, forward[0].weights)
