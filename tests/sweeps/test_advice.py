"""Advice on quadratic costs, where the answer is known, and on networks that die."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.errors import InputError
from gdjax.problems import Network, bowl, digits
from gdjax.sweeps.advice import advise

BOWL = bowl([1.0, 4.0, 10.0])


@pytest.fixture(scope="module")
def on_a_bowl():
    return advise(BOWL, num_steps=200, seeds=3)


@pytest.mark.long
def test_on_a_bowl_both_bounds_are_two_over_the_largest_eigenvalue(on_a_bowl):
    assert on_a_bowl.bound_at_start == pytest.approx(0.2, rel=1e-5)
    assert on_a_bowl.bound_along == pytest.approx(0.2, rel=1e-5)
    np.testing.assert_allclose(on_a_bowl.learning_rates, 0.2 * 2.0 ** np.arange(-6, 7), rtol=1e-5)


def test_on_a_bowl_rates_above_the_bound_diverge_and_none_below(on_a_bowl):
    """At twice the bound a cost grows by 9 a step: 3e12-fold within 13 steps."""
    above = on_a_bowl.learning_rates > 0.3
    assert np.all(on_a_bowl.diverged[above] == 1)
    assert np.all(on_a_bowl.diverged[~above] == 0)
    assert not on_a_bowl.works[above].any()
    below = on_a_bowl.learning_rates < 0.19
    assert on_a_bowl.works[below].all()


def test_on_a_bowl_the_best_of_the_rates_is_recommended(on_a_bowl):
    """Contraction a step is max |1 - rate h|: 0.9 at 0.1, 0.95 at 0.05, 1 at 0.2."""
    assert on_a_bowl.learning_rate == pytest.approx(0.1, rel=1e-5)
    assert "Learning rate 0.1: of 13 rates from 0.00313 to 12.8" in on_a_bowl.reason
    assert "2 / sharpness: 0.2 at the start, 0.2 at the sharpest record" in str(on_a_bowl)
    assert "smooth" in on_a_bowl.reason
    assert "No start diverged or stalled there." in on_a_bowl.reason


def test_the_same_is_said_again(on_a_bowl):
    assert str(advise(BOWL, num_steps=200, seeds=3)) == str(on_a_bowl)


@pytest.mark.long
def test_any_optimizer_is_advised_and_told_whose_bound_it_is():
    """Heavy ball with 0.5 is stable below (2 + 2 * 0.5) / 10 = 0.3, Nesterov's below half of it."""
    heavy = partial(optax.sgd, momentum=0.5)
    found = advise(
        BOWL, num_steps=200, seeds=2, make_optimizer=heavy, learning_rates=[0.01, 0.28, 0.32]
    )
    assert found.diverged.tolist() == [0, 0, 1]
    assert found.learning_rate in (0.01, 0.28)
    assert found.limit == 3
    assert found.bound_at_start == pytest.approx(0.3, rel=1e-5)
    assert found.bound_along == pytest.approx(0.3, rel=1e-5)
    assert "stable below 3 / sharpness: 0.3 at the start, 0.3 at the sharpest" in found.reason
    ahead = advise(BOWL, num_steps=60, seeds=2, make_optimizer=partial(heavy, nesterov=True))
    assert ahead.bound_at_start == pytest.approx(0.15, rel=1e-5)
    assert np.all(ahead.diverged[ahead.learning_rates > 0.16] == 1)
    assert np.all(ahead.diverged[ahead.learning_rates < 0.14] == 0)
    free = advise(BOWL, num_steps=20, seeds=2, make_optimizer=optax.lion)
    assert "for lion, with these settings, no bound follows" in free.reason
    tried = free.learning_rates
    assert (len(tried), tried[0], tried[-1]) == (13, pytest.approx(1e-5), pytest.approx(10))
    with pytest.raises(InputError, match="takes no learning_rate, expected a factory such as"):
        advise(BOWL, make_optimizer=optax.identity)


@pytest.mark.long
def test_adaptive_optimizers_have_the_bound_of_their_own_preconditioner():
    """P held at 4: RMSProp's steps are those of plain descent at a quarter of the rate."""
    held = partial(optax.rmsprop, decay=1.0, eps=0.0, initial_scale=16.0)
    found = advise(BOWL, num_steps=60, seeds=2, make_optimizer=held, learning_rates=[0.1, 0.7, 1.2])
    assert found.limit == 2
    assert np.isnan(found.bound_at_start)
    assert found.bound_along == pytest.approx(0.8, rel=1e-3)
    assert found.diverged.tolist() == [0, 0, 1]
    assert "stable below 2 / preconditioned sharpness: 0.8 at the sharpest record" in found.reason
    free = advise(BOWL, num_steps=20, seeds=2, make_optimizer=optax.adamw)
    assert free.limit == pytest.approx(38)
    assert len(free.learning_rates) == 13
    assert "stable below 38 / preconditioned sharpness: " in free.reason


def test_the_runs_behind_it_come_along(on_a_bowl):
    runs = on_a_bowl.runs
    assert dict(runs.sizes)["learning_rate"] == 13
    np.testing.assert_allclose(np.nanmin(runs.sharpness.values), 10, rtol=1e-4)
    assert np.sum(np.isfinite(runs.sharpness.values[0, 0])) >= 5
    np.testing.assert_allclose(
        np.sort(runs.cost.values[..., -1], axis=1)[:, 1], on_a_bowl.cost, rtol=1e-6
    )


@pytest.mark.long
def test_the_rates_of_the_user_are_tried_in_order():
    found = advise(BOWL, num_steps=100, seeds=2, learning_rates=[0.5, 0.02, 0.15])
    assert found.learning_rates.tolist() == [0.02, 0.15, 0.5]
    assert found.learning_rate == 0.15  # |1 - 0.15| against |1 - 0.02|
    assert "At 0.5, the next one up, 2 of 2 diverged." in found.reason


@pytest.mark.long
def test_where_no_rate_works_there_is_no_recommendation():
    found = advise(BOWL, num_steps=100, seeds=2, learning_rates=[1.0, 2.0])
    assert found.learning_rate is None
    assert found.reason.startswith("None of 2 rates from 1 to 2 works for all of 2 starts")
    assert "2 of 2 diverged at the lowest" in found.reason
    assert found.bound_at_start == pytest.approx(0.2, rel=1e-5)


def test_ends_of_the_range_are_owned_up_to():
    only = advise(BOWL, num_steps=20, seeds=1, learning_rates=[0.05])
    assert "highest one tried" in only.reason
    assert "lowest one tried" in only.reason


@pytest.mark.long
def test_where_nothing_bends_upwards_curvature_sets_no_bound():
    """At the top of a double well the only eigenvalue is -2."""
    hill = gd.Problem(init=lambda key: jnp.array(1e-3), cost=lambda w: w**4 - w**2)
    found = advise(hill, num_steps=100, seeds=1)
    assert found.bound_at_start == np.inf
    assert "no curvature is positive" in found.reason
    # At the bottom it is 12 / 2 - 2 = 4, so rates above 1/2 do not settle.
    assert found.learning_rate is not None
    assert found.learning_rate <= 0.5


@pytest.mark.long
def test_a_start_without_numbers_is_owned_up_to():
    """The root of w - 2 at 1 is NaN, and so are its derivatives."""
    nowhere = gd.Problem(init=lambda key: jnp.ones(3), cost=lambda w: jnp.sum(jnp.sqrt(w - 2)))
    found = advise(nowhere, num_steps=5, seeds=2)
    assert found.learning_rate is None
    assert np.isnan(found.bound_at_start)
    assert "The sharpness at the start could not be computed." in found.reason
    assert "2 of 2 diverged at the lowest" in found.reason


@pytest.mark.long
def test_saturated_networks_are_counted_as_dead():
    problem = digits("mnist5k", samples=200)
    found = advise(problem, num_steps=40, seeds=2, learning_rates=[1.0, 1e5])
    assert found.stalled.tolist() == [0, 1]
    assert found.diverged.tolist() == [0, 0]
    assert found.learning_rate == 1
    assert "2 of 2 stalled" in found.reason


def regression(samples):
    network = Network((3, 6, 1), activation="tanh", output_activation="identity")
    x = np.random.default_rng(0).normal(size=(samples, 3))
    data = tuple(jnp.asarray(a) for a in (x, np.sin(x[:, :1])))

    def cost(params, batch):
        return jnp.mean((network.apply(params, batch[0]) - batch[1]) ** 2)

    return gd.Problem(init=network.init, cost=cost, data=data)


@pytest.mark.long
def test_with_mini_batches_and_a_sample_of_the_data():
    problem = regression(400)
    found = advise(problem, num_steps=60, batch_size=10, seeds=3, samples=100)
    assert found.learning_rate is not None
    assert "mini-batches of 10" in found.reason
    at_best = int(np.argmin(np.where(found.works, found.cost, np.inf)))
    assert found.learning_rates[at_best] == found.learning_rate
    # A hundred samples of 400 give the bound of all of them to some ten percent.
    params = jax.vmap(problem.init)(gd.streams(0, np.arange(3)).init)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), float), (params, problem.data))
        top = np.median([largest(problem, p, wide[1]) for p in unstacked(wide[0], 3)])
    assert found.bound_at_start == pytest.approx(2 / top, rel=0.35)
    whole = advise(problem, num_steps=1, seeds=3, learning_rates=[0.1])
    assert whole.bound_at_start == pytest.approx(2 / top, rel=0.01)


def unstacked(tree, count):
    return [jax.tree.map(lambda a, i=i: a[i], tree) for i in range(count)]


def largest(problem, params, data):
    flat, unravel = ravel_pytree(params)
    hessian = jax.jit(jax.hessian(lambda w, data: problem.cost(unravel(w), data)))
    return np.linalg.eigvalsh(hessian(flat, data))[-1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "advise: seeds = 0, expected a whole number >= 1"),
        ({"num_steps": 0}, "advise: num_steps = 0, expected a whole number >= 1"),
        ({"learning_rates": [0.1, -1.0]}, "advise: learning_rates = .*above 0"),
        ({"learning_rates": []}, "advise: learning_rates = .*above 0"),
        ({"batch_size": 4}, "has no data"),
    ],
)
def test_what_cannot_work_is_named(options, message):
    with pytest.raises(InputError, match=message):
        advise(BOWL, **options)


def test_it_hangs_at_the_top():
    assert gd.advise is advise
