"""Sharpness, compared with dense eigenvalues; descent near the threshold."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from curved_problems import dense_reference
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.curvature.sharpness import MAX_RESTARTS, Sharpness
from gdjax.problems import as_problem, bowl

KEY = jax.random.key(0)


@cache
def compiled(problem, options):
    metric, problem = Sharpness(**dict(options)), as_problem(problem)
    return metric, jax.jit(partial(metric, problem)), partial(metric.init, problem)


def sharpness_at(problem, params, **options):
    """Return the sharpness at one point from a new state, and the next state."""
    _, measure, init = compiled(problem, tuple(options.items()))
    return measure(params, init(params))


def regression(samples=40):
    """Return a tanh network with random targets and a keyword for weight decay."""
    network = gd.problems.Network((3, 8, 2), activation="tanh", output_activation="identity")
    rng = np.random.default_rng(0)
    data = tuple(jnp.array(rng.normal(size=(samples, n))) for n in (3, 2))

    def cost(params, batch, *, decay=0.0):
        apart = network.apply(params, batch[0]) - batch[1]
        size = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        return jnp.mean(jnp.sum(apart**2, axis=1)) + decay * size

    return gd.Problem(init=network.init, cost=cost, data=data)


# -- the sharpness at a point


SPECTRA = {
    "spread": np.linspace(0.1, 5, 40),
    "indefinite, negative eigenvalues of largest magnitude": np.r_[
        -100.0, -30.0, np.linspace(-1, 3, 38)
    ],
    "negative": -np.linspace(1.0, 9, 40),
    "zero": np.zeros(30),
    "zero, few": np.zeros(3),
    "clustered": np.r_[np.full(20, 1.0), np.full(20, 7.0)],
    "one value": np.full(40, 7.0),
    "rank 3": np.r_[np.zeros(37), 1.0, 2.0, -4.0],
    "outlier": np.r_[np.full(39, 1e-3), 50.0],
    "few": np.array([-9.0, 2.0, 1.0]),
    "one parameter": np.array([-3.0]),
    "up to the dense limit": np.linspace(-8, 4, 8),
    "just above the dense limit": np.linspace(-8, 4, 9),
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "rotated"), [*((name, True) for name in SPECTRA), ("spread", False), ("zero", False)]
)
def test_sharpness_of_a_quadratic_is_its_largest_eigenvalue(name, rotated, float64):
    """A Hessian that is not rotated is diagonal, and maps each coordinate axis to itself."""
    spectrum = SPECTRA[name]
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(spectrum.size,) * 2))[0]
    problem = bowl(spectrum, basis=basis if rotated else None)
    value, memory = sharpness_at(problem, jnp.ones(spectrum.size))
    assert float(value) == pytest.approx(spectrum.max(), rel=1e-5, abs=1e-12)
    assert float(memory.residual) <= 1e-3 * abs(spectrum.max()) + 1e-12


@pytest.mark.long
@pytest.mark.parametrize("samples", [40, 2500])
@pytest.mark.parametrize("x64", [False, True])
def test_sharpness_of_a_network_equals_that_of_its_dense_hessian(samples, x64):
    with jax.enable_x64(x64):
        problem = regression(samples)
        start = jax.jit(partial(problem.init, init_scale=2.0))
        for seed in range(3):
            params = start(jax.random.key(seed))
            value, memory = sharpness_at(problem, params)
            H = dense_reference(problem.cost, params, problem.data)
            known = np.linalg.eigvalsh(H)
            assert known[0] < 0  # the Hessian is indefinite
            v = np.asarray(memory.vectors[:, 0], float)
            assert np.linalg.norm(v) == pytest.approx(1, abs=1e-6)
            residual = np.linalg.norm(H @ v - float(value) * v)
            assert residual == pytest.approx(float(memory.residual), rel=1e-2, abs=1e-5)
            # The error is at most residual^2 / gap, and at most the residual.
            gap = known[-1] - known[-2]
            assert residual <= 1.01e-3 * known[-1]
            error = max(2 * residual**2 / gap, 2e-6 * known[-1])
            assert abs(float(value) - known[-1]) <= min(error, 1e-3 * known[-1])


@pytest.mark.long
def test_sharpness_is_nan_after_the_maximum_number_of_restarts(float64):
    spectrum = np.linspace(0, 1, 3000)
    value, memory = sharpness_at(bowl(spectrum), jnp.ones(3000), rtol=1e-11)
    assert np.isnan(float(value))
    assert int(memory.products) == 8 + 6 * MAX_RESTARTS
    assert np.all(np.isfinite(memory.vectors))


@pytest.mark.long
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_stored_eigenvectors_are_unchanged_if_the_hessian_is_not_finite(bad):
    problem = regression()
    params = jax.jit(problem.init)(KEY)
    _, memory = sharpness_at(problem, params)
    not_finite = jax.tree.map(lambda a: jnp.full_like(a, bad), params)
    value, new_memory = compiled(problem, ())[1](not_finite, memory)
    assert np.isnan(float(value))
    np.testing.assert_array_equal(new_memory.vectors, memory.vectors)
    assert int(new_memory.products - memory.products) == 8  # without a restart


# -- along a descent


def snapshots_of(problem, rate, steps, every, **options):
    return gd.descend(
        problem,
        optax.sgd(rate),
        jax.jit(problem.init)(KEY),
        steps,
        key=KEY,
        record_every=every,
        snapshot_every=every,
        **options,
    )


@pytest.mark.long
def test_the_metric_of_a_run_is_unaffected_by_another_run_that_diverges():
    """A diverged run of the quartic has an enormous or infinite Hessian."""
    problem = gd.Problem(
        init=lambda key: jnp.linspace(0.5, 1.5, 12), cost=lambda w: jnp.sum(w**4 + w**2)
    )
    rates = [0.01, 0.02, 5.0]
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates),
        24,
        record_every=4,
        metrics={"sharpness": Sharpness()},
        divergence_threshold=np.inf,
    )
    assert runs.diverged_at.values.tolist()[2] > 0
    assert not runs.sharpness.values[2, -1] < 1e12
    for rate, result in zip(rates[:2], runs.sharpness.values, strict=False):
        w = np.linspace(0.5, 1.5, 12)
        for t in range(25):
            if t % 4 == 0:
                assert result[t // 4] == pytest.approx(np.max(12 * w**2 + 2), rel=1e-3)
            w = w - rate * (4 * w**3 + 2 * w)


@pytest.mark.long
def test_continued_descents_start_from_the_last_eigenvector():
    problem = regression()
    watch = {"sharpness": Sharpness()}
    uninterrupted = snapshots_of(problem, 0.05, 40, 4, metrics=watch)
    first = snapshots_of(problem, 0.05, 20, 4, metrics=watch)
    rest = gd.descend(problem, optax.sgd(0.05), first, 20, key=KEY, record_every=4, metrics=watch)
    together = np.r_[first.metrics["sharpness"], rest.metrics["sharpness"]]
    np.testing.assert_array_equal(together, uninterrupted.metrics["sharpness"])
    spent = [int(run.carry.metric_states["sharpness"].products) for run in (first, rest)]
    cold = sharpness_at(problem, rest.params)[1].products
    assert spent[1] - spent[0] < 5 * int(cold)


@pytest.mark.long
def test_the_metric_switches_to_the_eigenvector_of_a_new_largest_eigenvalue(float64):
    """The curvature decreases along coordinate 0 and increases along coordinate 29."""
    sinking, rising = np.ones(40), np.ones(40)
    sinking[0] = rising[29] = 10
    sinking += np.linspace(0, 0.1, 40)
    rising += np.linspace(0, 0.1, 40)

    def cost(w, *, share=0.0):
        return jnp.sum(((1 - share) * sinking + share * rising) * w**2) / 2

    problem = as_problem(cost)
    next_estimate = jax.jit(lambda w, state, share: Sharpness()(problem.at(share=share), w, state))
    w = jnp.ones(40)
    memory = Sharpness().init(problem, w)
    for share in np.linspace(0, 1, 41):
        value, memory = next_estimate(w, memory, share)
        known = np.max((1 - share) * sinking + share * rising)
        assert float(value) == pytest.approx(known, rel=1e-3)


@pytest.mark.long
def test_swept_keywords_of_the_cost_are_passed_to_the_hessian():
    """A weight decay d adds 2 d to every eigenvalue."""
    problem = regression()
    grid = gd.axes(learning_rate=[0.1], decay=[0.0, 0.5, 3.0], seed=[1])
    runs = gd.sweep(problem, grid, 0, metrics={"sharpness": Sharpness()})
    result = runs.sharpness.values.ravel()
    np.testing.assert_allclose(result - result[0], [0, 1, 6], atol=2e-3 * result[-1])


def test_the_metric_calls_no_lapack_on_cpus():
    problem = regression()
    params = jax.jit(problem.init)(KEY)
    _, measure, init = compiled(problem, ())
    text = measure.lower(params, init(params)).as_text()
    assert "custom_call" in jax.jit(jnp.linalg.eigh).lower(jnp.eye(8)).as_text()
    assert "lapack" not in text
    assert "eigh" not in text.lower()


# -- several eigenvalues


@pytest.mark.long
def test_the_metric_equals_the_largest_eigenvalues_of_the_dense_hessian():
    """The 30 parameters exceed the Krylov dimension; 16 runs share two devices."""
    x = np.random.default_rng(2).normal(size=(12, 4)).astype(np.float32)

    def cost(w, x):
        hidden = jnp.tanh(x @ w["in"])
        return jnp.mean((hidden @ w["out"] - jnp.sin(3 * x[:, 0])) ** 2)

    def init(key):
        a, b = jax.random.split(key)
        return {"in": jax.random.normal(a, (4, 6)), "out": jax.random.normal(b, (6,))}

    problem = gd.Problem(init=init, cost=cost, data=x)
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=[0.05, 0.2], seed=range(8)),
        8,
        snapshot_every=4,
        metrics={"top": gd.Metric(Sharpness(3, rtol=1e-4), every=4)},
        devices=jax.local_devices()[:2],
    )
    assert runs.top.dims == ("learning_rate", "seed", "top_step", "eigenvalue")
    assert runs.top_step.values.tolist() == runs.snapshot_step.values.tolist() == [0, 4, 8]
    unravel = ravel_pytree(init(KEY))[1]
    hessian = jax.jit(jax.vmap(jax.hessian(lambda flat: cost(unravel(flat), x))))
    snapshots = [runs[f"snapshots.{name}"].values.reshape(48, -1) for name in ("in", "out")]
    known = np.linalg.eigvalsh(hessian(np.concatenate(snapshots, axis=1)))
    assert (known[:, 0] < 0).any()
    expected = known[:, ::-1][:, :3].reshape(2, 8, 3, 3)
    np.testing.assert_allclose(runs.top, expected, rtol=1e-3, atol=1e-4)


def test_the_dense_hessian_is_used_for_few_parameters():
    values, _ = sharpness_at(bowl([3.0, -1.0, 2.0]), jnp.ones(3), count=3)
    np.testing.assert_allclose(values, [3, 2, -1], rtol=1e-5)
