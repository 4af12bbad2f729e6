"""The river valley experiment: its estimators, against closed forms, and a small run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.river_valleys import __main__ as summary
from experiments.river_valleys import model as river_methods
from gdjax.sweeps.dataset import from_named


def test_a_rate_rises_is_constant_and_then_decays_to_0():
    @partial(jax.jit, static_argnums=2)
    def rates(start, length, rise=0):
        optimizer = river_methods.warm_up_stable_decay(0.5, start, length, warm_up_steps=rise)

        def step(state, _):
            update, state = optimizer.update(jnp.ones(()), state)
            return state, -update

        return jax.lax.scan(step, optimizer.init(jnp.ones(())), length=9)[1]

    np.testing.assert_allclose(rates(3, 4), [0.5] * 4 + [0.375, 0.25, 0.125, 0, 0])
    np.testing.assert_allclose(rates(0, 0), 0.5)
    np.testing.assert_allclose(rates(4, 2, 2), [0.25, 0.5, 0.5, 0.5, 0.5, 0.25, 0, 0, 0])
    np.testing.assert_allclose(rates(0, 0, 4), [0.125, 0.25, 0.375] + [0.5] * 6)


def test_both_parts_of_a_gradient_have_separate_rates():
    rng = np.random.default_rng(0)
    bases = np.stack([np.linalg.qr(rng.normal(size=(5, 3)))[0].T for _ in range(2)])
    g = rng.normal(size=5)
    optimizer = river_methods.parted_sgd(0.1, 1, 2, 1.0, 0.0, 0.5, 1.0, bases=bases, decay_steps=4)
    params = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    state = optimizer.init(params)
    gradient = {"a": jnp.asarray(g[:2]), "b": jnp.asarray(g[2:])}
    steep = bases[1, :2].T @ (bases[1, :2] @ g)
    descend = jax.jit(optimizer.update)
    for z in (0.0, 0.25, 0.5):
        update, state = descend(gradient, state)
        expected = -0.1 * ((1 - z) * steep + (0.5 + 0.5 * z) * (g - steep))
        np.testing.assert_allclose(np.concatenate([update["a"], update["b"]]), expected, rtol=1e-5)


def test_parts_of_the_change_of_a_cubic_have_closed_forms():
    """C = w^T H w / 2 + c w_0^3: the remainder is c d_0^3, and the line integral is exact."""
    H, c = np.diag([4.0, 1.0, 0.5]), 0.3
    cost = gd.Problem(
        init=lambda key: jnp.zeros(3),
        cost=lambda w: w @ jnp.asarray(H, w.dtype) @ w / 2 + c * w[0] ** 3,
    )
    w, d = np.array([0.5, -1.0, 2.0]), np.array([-0.75, 0.5, 1.0])
    split = jax.jit(partial(river_methods.split_change, cost))
    parts = split(jnp.asarray(w), jnp.asarray(w + d), jnp.eye(3)[:2])
    expected = np.diag(H) * (w * d + d**2 / 2)
    cubic = c * ((w + d)[0] ** 3 - w[0] ** 3)
    order_2 = c * (3 * w[0] ** 2 * d[0] + 3 * w[0] * d[0] ** 2)
    known = {
        "second_order": expected[:2] + np.array([order_2, 0]),
        "rest": expected[2],
        "remainder": c * d[0] ** 3,
        "line": expected[:2] + np.array([cubic, 0]),
        "line_rest": expected[2],
        "total": expected.sum() + cubic,
    }
    assert parts.keys() == known.keys()
    for name, value in known.items():
        rtol = 1e-4 if name == "remainder" else 1e-5
        np.testing.assert_allclose(parts[name], value, rtol=rtol, err_msg=name)


def test_parts_of_the_fall_in_a_noisy_quadratic_valley_have_the_computed_means():
    """Two steep directions at the stationary variance, and two flat ones far from it."""
    values, deviation, rate, steps = np.array([1.0, 0.7, 0.004, 0.002]), 0.5, 0.5, 100
    valley = gd.Problem(
        init=lambda key: jnp.array([0.0, 0.0, 30.0, 40.0]),
        cost=lambda w, *, key: (
            jnp.sum(jnp.asarray(values, w.dtype) * w**2) / 2
            + deviation * w @ jax.random.normal(key, w.shape)
        ),
        evaluation=lambda w: jnp.sum(jnp.asarray(values, w.dtype) * w**2) / 2,
    )
    runs = gd.sweep(
        valley,
        gd.axes(
            learning_rate=[rate], decay_start=[steps], decay_steps=[steps], noise_seed=range(800)
        ),
        2 * steps,
        make_optimizer=partial(river_methods.warm_up_stable_decay, warm_up_steps=0),
        record_every=steps,
        snapshot_every=steps,
    )
    ends = from_named("snapshots", jnp.zeros(4), runs.squeeze().transpose("noise_seed", ...))
    split = jax.jit(jax.vmap(partial(river_methods.split_change, valley), (0, 0, None)))
    parts = split(ends[:, 1], ends[:, 2], jnp.eye(4)[:2])
    decay = rate * (1 - np.arange(steps) / steps)

    def squares(start, rates):
        for r in rates:
            start = (1 - r * values) ** 2 * start + r**2 * deviation**2
        return start

    begin = squares(np.array([0.0, 0.0, 900.0, 1600.0]), np.full(steps, rate))
    stationary = rate * deviation**2 / (values * (2 - rate * values))
    np.testing.assert_allclose(begin[:2], stationary[:2], rtol=1e-6)
    change = values * (squares(begin, decay) - begin) / 2
    assert change.max() < 0

    def agrees(samples, expected):
        error = np.std(samples) / np.sqrt(len(samples))
        assert abs(np.mean(samples) - expected) < 4 * error + 1e-3 * abs(expected)
        assert error < 0.1 * abs(expected)

    for i in range(2):
        agrees(parts["second_order"][:, i], change[i])
        np.testing.assert_allclose(parts["line"][:, i], parts["second_order"][:, i], atol=1e-4)
    agrees(parts["rest"], change[2:].sum())
    np.testing.assert_allclose(parts["remainder"], 0, atol=1e-4)


def test_shares_are_computed_from_costs_and_are_nan_after_divergence():
    at = ("start", "branch_step")
    parted = np.full((2, 1, 4, 1), 0.0)
    parted[..., :, 0] = [0.7, 0.9, 0.55, 0.75]  # onto, off, steep_decay, rest_decay
    parted[1, 0, 2, 0] = np.inf
    values = {
        "begin": 1.0, "end": 0.5, "continued": 0.9, "averaged": 0.6, "swept_constant": 0.8,
        "swept_decay": 0.6, "rest": -0.1, "remainder": -0.05,
    }  # fmt: skip
    part = xr.Dataset(
        {name: (at, np.full((2, 1), value)) for name, value in values.items()},
        {"part": list(river_methods.PARTS), "directions": [2], "branch_step": [5]},
    )
    part["parted"] = (*at, "part", "directions"), parted
    for name in ("second_order", "line", "end_line"):
        part[name] = (*at, "direction"), np.full((2, 1, 2), -0.125)
    shares = summary.shares(part)
    result = shares.sel(directions=2)
    for name, expected in {
        "second_order": 0.5, "rest": 0.2, "remainder": 0.1, "averaged": 0.75, "onto": 0.75,
        "off": 0.25, "rest_decay": 0.25,
    }.items():  # fmt: skip
        np.testing.assert_allclose(result[name], expected, err_msg=name)
    np.testing.assert_allclose(result.steep_decay, [1.25, np.nan])
    assert summary.with_intervals(shares)["directions"]["2"]["steep_decay"] is None
