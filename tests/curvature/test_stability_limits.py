"""Stability thresholds and preconditioners, compared with formulas and steps of Optax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from curved_problems import dense_reference, in_float64, regression
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.curvature import (
    PreconditionedHessian,
    Sharpness,
    extreme_eigenpairs,
    stability_threshold,
)
from gdjax.curvature.stability_limits import preconditioner
from gdjax.descent import non_euclidean_descent
from gdjax.problems import as_problem

# The preconditioner is constant: 1 for RMSProp, and eps for Adam, since eps far exceeds gradients.
HELD = partial(optax.rmsprop, decay=1.0, eps=0.0, initial_scale=1.0)
EPS = 1e12
WIDE = {"eps": EPS, "b2": 0.9}

OPTIMISERS = {
    "plain": (optax.sgd, 1.0),
    "heavy ball": (partial(optax.sgd, momentum=0.9), 1.0),
    "negative momentum": (partial(optax.sgd, momentum=-0.3), 1.0),
    "Nesterov": (partial(optax.sgd, momentum=0.9, nesterov=True), 1.0),
    "Nesterov, -0.2": (partial(optax.sgd, momentum=-0.2, nesterov=True), 1.0),
    "Nesterov, -0.4": (partial(optax.sgd, momentum=-0.4, nesterov=True), 1.0),
    "Nesterov, -0.7": (partial(optax.sgd, momentum=-0.7, nesterov=True), 1.0),
    "RMSProp": (HELD, 1.0),
    "RMSProp with heavy-ball momentum": (partial(HELD, momentum=0.5), 1.0),
    "Adam": (partial(optax.adam, **WIDE), EPS),
    "Adam, 0.5": (partial(optax.adam, b1=0.5, **WIDE), EPS),
    "NAdam": (partial(optax.nadam, **WIDE), EPS),
    "AdamW": (partial(optax.adamw, weight_decay=3.0, **WIDE), EPS),
    "NAdamW, -0.6": (partial(optax.nadamw, b1=-0.6, weight_decay=3.0, **WIDE), EPS),
}
RATE = 0.1
CURVATURES = np.array([0.01, 0.3, 1.0])  # relative to the largest curvature
STARTS = 16


def growth(optimizer, scale):
    """Return a compiled function from the largest curvature to log growth per start."""

    def of_start(start, top):
        fixed_rule = optimizer(learning_rate=RATE)
        curvature = top * scale * jnp.array(CURVATURES)

        def step(carry, _):
            w, memory = carry
            updates, memory = fixed_rule.update(curvature * w, memory, w)
            w = w + updates
            return (w, memory), jnp.max(jnp.abs(w))

        sizes = jax.lax.scan(step, (start, fixed_rule.init(start)), length=3000)[1]
        return jnp.log(jnp.max(sizes[2500:]) / jnp.max(sizes[1000:1500]))

    starts = 1e-60 * jax.random.normal(jax.random.key(0), (STARTS, 3), jnp.float64)
    return jax.jit(lambda top: jax.vmap(of_start, (0, None))(starts, top))


QUICK = ("Nesterov, -0.4", "RMSProp", "Adam")


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.long) for n in OPTIMISERS],
)
def test_the_threshold_equals_that_found_by_bisection_over_runs(name):
    optimizer, scale = OPTIMISERS[name]
    with jax.enable_x64(True):
        predicted = float(stability_threshold(RATE, optimizer))
        grows = growth(optimizer, scale)
        low, high = np.full(STARTS, 0.9993 * predicted), np.full(STARTS, 1.0008 * predicted)
        assert np.all(grows(low[0]) < 0)
        assert np.all(grows(high[0]) > 0)
        while np.max(high - low) > 1e-4 * predicted:
            middle = float((low[0] + high[0]) / 2)
            up = np.asarray(grows(middle)) > 0
            assert np.all(up == up[0])  # all starts grow, or all decay
            low, high = np.where(up, low, middle), np.where(up, middle, high)
    np.testing.assert_allclose((low + high) / 2, predicted, rtol=1e-4)


def test_thresholds_equal_the_published_formulas():
    eta, heavy_ball = np.array([0.01, 0.5]), partial(optax.sgd, momentum=0.9)
    np.testing.assert_allclose(stability_threshold(eta), [200, 4], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, heavy_ball), [380, 7.6], rtol=1e-6)
    opposing = partial(optax.sgd, momentum=-0.3)  # spectral radius 0.992 at 13.9, 1.008 at 14.1
    np.testing.assert_allclose(stability_threshold(0.1, opposing), 14, rtol=1e-6)
    nesterov = stability_threshold(eta, partial(heavy_ball, nesterov=True))
    np.testing.assert_allclose(nesterov, [380 / 2.8, 7.6 / 2.8], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, optax.rmsprop), [200, 4], rtol=1e-6)
    np.testing.assert_allclose(stability_threshold(eta, optax.adam), [3800, 76], rtol=1e-6)
    no_average = partial(optax.adam, b1=0)
    np.testing.assert_allclose(stability_threshold(eta, no_average), [200, 4], rtol=1e-6)


def test_thresholds_can_be_vmapped_over_rates_and_momenta():
    rates, momenta = np.linspace(0.01, 1, 16), np.linspace(0, 0.9, 16)

    def threshold(rate, momentum):
        return stability_threshold(rate, partial(optax.sgd, momentum=momentum))

    result = jax.jit(jax.vmap(threshold))(rates, momenta)
    np.testing.assert_allclose(result, (2 + 2 * momenta) / rates, rtol=1e-6)


def chained(*rules):
    return lambda rate: optax.chain(*rules, optax.scale_by_learning_rate(rate))


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        (lambda lr: optax.adam(learning_rate=lr), 38.0),
        (partial(lambda learning_rate, beta: optax.adam(learning_rate, b1=beta), beta=0.5), 6.0),
        (chained(optax.scale_by_adam()), 38.0),
        (chained(optax.clip_by_global_norm(9.0), optax.trace(0.9)), 3.8),
        (chained(optax.trace(0.9, nesterov=True)), 3.8 / 2.8),
        (chained(optax.ema(0.5, debias=False)), 6.0),
        (lambda rate: optax.inject_hyperparams(optax.sgd)(rate, momentum=0.5), 3.0),
        (lambda rate: optax.sgd(rate / 2), 4.0),
        (optax.amsgrad, 38.0),
        (lambda rate: optax.chain(optax.add_decayed_weights(0.5), optax.sgd(rate)), 1.5),
    ],
)
def test_an_optimizer_is_known_by_what_it_computes(rule, limit):
    np.testing.assert_allclose(stability_threshold(1.0, rule), limit, rtol=1e-5)


@pytest.mark.parametrize(
    "rule",
    [
        optax.lion,
        optax.adagrad,
        optax.adamax,
        optax.lamb,
        optax.contrib.muon,
        optax.contrib.ademamix,
        optax.contrib.schedule_free_sgd,
        optax.scale,
        lambda rate: optax.MultiSteps(optax.sgd(rate), 2),
    ],
)
def test_the_limit_of_a_rule_that_is_not_linear_is_unknown(rule):
    with pytest.raises(InputError, match="limit is not known"):
        stability_threshold(0.1, rule)


def test_the_threshold_in_another_norm_is_that_of_the_generalized_sharpness():
    muon = partial(non_euclidean_descent, norm="spectral")
    assert float(stability_threshold(0.1, muon)) == pytest.approx(20)


RUNS = 16
RULES = {
    "Adam": optax.adam,
    "Adam with other settings": partial(optax.adam, b1=0.5, b2=0.9, eps=1e-3, eps_root=1e-4),
    "AdamW": partial(optax.adamw, weight_decay=0.0),
    "RMSProp": optax.rmsprop,
    "RMSProp as in PyTorch": partial(optax.rmsprop, eps_in_sqrt=False, eps=1e-3),
    "RMSProp, corrected": partial(optax.rmsprop, bias_correction=True, decay=0.99),
}


@pytest.mark.parametrize("name", RULES)
def test_steps_of_optax_equal_the_momentum_divided_by_the_preconditioner(name):
    """After three updates with random gradients, the last update is -0.1 m / P."""
    rule = RULES[name](learning_rate=0.1)
    gradients = jax.random.normal(jax.random.key(0), (3, RUNS, 5))

    def run(gradients):
        w = jnp.zeros(5)
        memory = rule.init(w)
        for g in gradients:
            updates, memory = rule.update(g, memory, w)
        momentum = getattr(memory[0], "mu", gradients[-1])
        return updates, momentum / preconditioner(RULES[name])(memory)

    updates, ratio = jax.jit(jax.vmap(run, in_axes=1))(gradients)
    np.testing.assert_allclose(updates, -0.1 * ratio, rtol=2e-5)


@pytest.mark.parametrize(
    ("x64", "error"), [pytest.param(False, 1e-3, marks=pytest.mark.long), (True, 1e-5)]
)
def test_preconditioned_sharpness_equals_the_dense_eigenvalue_after_steps_of_adam(x64, error):
    with jax.enable_x64(x64):
        cost, params, data = regression(20)
        rule = optax.adam(0.01)

        def run(shift):
            w = jax.tree.map(lambda a: a + shift, params)
            memory = rule.init(w)
            for _ in range(3):
                updates, memory = rule.update(jax.grad(cost)(w, data), memory, w)
                w = optax.apply_updates(w, updates)
            P = preconditioner(optax.adam)(memory)
            pairs = extreme_eigenpairs(
                as_problem(cost, data),
                w,
                key=jax.random.key(0),
                rtol=1e-4,
                operator=partial(PreconditionedHessian, preconditioner=P),
            )
            return w, P, pairs.values[0]

        w, P, result = jax.tree.map(
            np.asarray, jax.jit(jax.vmap(run))(jnp.linspace(-0.2, 0.2, RUNS))
        )
    for i in range(RUNS):
        point, divisor = (jax.tree.map(lambda a, i=i: a[i], tree) for tree in (w, P))
        H = dense_reference(cost, point, data)
        with jax.enable_x64(True):
            root = 1 / np.sqrt(np.asarray(ravel_pytree(in_float64(divisor))[0]))
        known = np.linalg.eigvalsh(root[:, None] * H * root)[-1]
        assert result[i] == pytest.approx(known, rel=error)


@pytest.mark.long
def test_the_metric_reads_the_preconditioner_from_the_optimizer_state():
    """After one step of Adam, P is (1 - b1) (|g| + eps), where g is the gradient at the start."""
    cost, params, data = regression(20)
    problem, rates = gd.Problem(init=lambda key: params, cost=cost, data=data), [0.01, 0.02]
    adam = partial(optax.adam, b2=0.9)
    metrics = {"read": Sharpness(preconditioner=preconditioner(adam))}
    axes = gd.axes(learning_rate=rates)
    runs = gd.sweep(problem, axes, 1, make_optimizer=adam, metrics=metrics)
    assert np.isnan(runs.read.isel(step=0)).all()
    gradient = jax.grad(cost)(params, data)
    root = 1 / np.sqrt(0.1 * (np.abs(np.asarray(ravel_pytree(gradient)[0], float)) + 1e-8))
    for rate, result in zip(rates, runs.read.isel(step=1).values, strict=True):
        ahead = jax.tree.map(lambda w, g, rate=rate: w - rate * jnp.sign(g), params, gradient)
        H = dense_reference(cost, ahead, data)
        known = np.linalg.eigvalsh(root[:, None] * H * root)[-1]
        assert result == pytest.approx(known, rel=1e-2)
