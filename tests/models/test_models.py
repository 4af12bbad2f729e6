"""Models of other libraries: sweeps, landscapes, curvature and barriers.

Sweeps are compared with a loop, resumed sweeps bitwise with uninterrupted ones, and curvature
with dense matrices.
"""

from functools import partial
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.descent import block_loop
from gdjax.problems import evaluate, frozen
from gdjax.search.learning_rate import LearningRateStatus
from gdjax.sweeps import slab_runner
from tests.models.other_models import (
    MODELS,
    Model,
    neural_ode,
    normalized,
    transformer,
)

STEPS, SEEDS = 6, 2
KEY = jax.random.key(7)


class NormalizedNNX(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(1, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.dropout = nnx.Dropout(0.1)
        self.last = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, x, rngs):
        return self.last(self.dropout(jnp.tanh(self.norm(self.first(x))), rngs=rngs))


def normalized_nnx():
    def split(key):
        return nnx.split(NormalizedNNX(nnx.Rngs(key)), nnx.Param, nnx.BatchStat)

    graph = split(KEY)[0]

    def apply(params, x, *, train, key, model_state):
        model = nnx.merge(graph, params, model_state, copy=True)
        (model.train if train else model.eval)()
        return model(x, nnx.Rngs(key)), nnx.state(model, nnx.BatchStat)

    return normalized(lambda key: split(key)[1:], apply)


class NormalizedEquinox(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key):
        key_first, key_last = jax.random.split(key)
        self.first = eqx.nn.Linear(1, 6, key=key_first)
        self.norm = eqx.nn.BatchNorm(6, "batch", mode="batch", momentum=0.5)
        self.dropout = eqx.nn.Dropout(0.1)
        self.last = eqx.nn.Linear(6, 1, key=key_last)

    def __call__(self, x, state, key):
        h, state = self.norm(self.first(x), state)
        return self.last(self.dropout(jnp.tanh(h), key=key)), state


def normalized_equinox():
    make = eqx.nn.make_with_state(NormalizedEquinox)
    one = make(KEY)[0]

    def init(key):
        model, state = make(key)
        return eqx.filter(model, eqx.is_inexact_array), state

    def apply(params, x, *, train, key, model_state):
        model = eqx.nn.inference_mode(eqx.combine(params, one), not train)
        over_samples = jax.vmap(model, (0, None, 0), (0, None), axis_name="batch")
        return over_samples(x, model_state, jax.random.split(key, len(x)))

    return normalized(init, apply)


# All models are swept. One of each kind is also resumed, and evaluated at points: without state,
# with a model state, with random numbers, with Diffrax's adjoint, and with new data at every step.
EVALUATED = ["linen", "convolutional", "variational", "neural_ode", "online"]
# Models that take long to compile are reduced to one layer or one stage.
MADE = {name: MODELS[name] for name in EVALUATED} | MODELS
MADE |= {
    "transformer": partial(transformer, layers=1),
    "neural_ode": partial(neural_ode, solver=diffrax.Euler()),
    "normalized_equinox": normalized_equinox,
    "normalized_nnx": normalized_nnx,
}


class Swept(NamedTuple):
    """A model, its stored sweep, the Dataset, and the end points of its runs.

    `problem` has the model state of the first run, if there is one, and `end` is the end point of
    the first run.
    """

    model: Model
    store: Any
    runs: Any
    problem: gd.Problem
    ends: Any
    end: Any


def sweep(model, store):
    return gd.sweep(
        model.problem,
        gd.axes(seed=range(SEEDS)),
        STEPS,
        make_optimizer=partial(optax.sgd, learning_rate=model.rate),
        store=store,
        devices=jax.local_devices()[:1],
    )


@pytest.fixture(scope="module", params=list(MADE))
def swept(request, tmp_path_factory):
    model = MADE[request.param]()
    store = tmp_path_factory.mktemp("models") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_loop, "record_capacity", lambda *_: 2)  # a block has two steps
        runs = sweep(model, store)
        problem = model.problem
        # A model whose cost calls functions of the host, such as Diffrax's, cannot be verified.
        end_of = partial(gd.sweeps.run_of, store, problem=problem, allow_unverified=True)
        result = [end_of({"seed": k}) for k in range(SEEDS)]
        if problem.stateful:
            problem = frozen(problem, model_state=result[0].model_state)
        ends = jax.tree.map(lambda *leaves: np.stack(leaves), *(run.params for run in result))
        yield Swept(model, store, runs, problem, ends, result[0].params)


def by_hand(model, seed, begin, step, recorded):
    """Return final parameters and state of a Python loop, and the costs of all steps."""
    problem, streams = model.problem, gd.run_keys(0, seed, 0)
    params, state = begin(streams.init)
    costs = []
    for t in range(STEPS + 1):
        key = jax.random.fold_in(streams.noise, t) if problem.random else None
        cost, *ahead = step(params, state, problem.data, key)
        costs.append(cost if recorded is None else recorded(params, state))
        if t < STEPS:
            params, state = ahead
    return params, state, costs


def test_a_sweep_equals_a_hand_written_loop(swept):
    model = swept.model

    @jax.jit
    def step(params, state, batch, key):
        both = jax.value_and_grad(model.by_hand, has_aux=True)
        (cost, ahead), g = both(params, state, batch, key)
        return cost, jax.tree.map(lambda w, d: w - model.rate * d, params, g), ahead

    begin, recorded = jax.jit(model.problem.begin), model.recorded and jax.jit(model.recorded)
    for seed in range(SEEDS):
        params, state, costs = by_hand(model, seed, begin, step, recorded)
        run = gd.sweeps.run_of(swept.store, {"seed": seed}, model.problem, allow_unverified=True)
        ends = (run.params, run.model_state), (params, state)
        for actual, expected in zip(*map(jax.tree.leaves, ends), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(swept.runs.cost[seed], costs, rtol=2e-4)


class ProcessKilled(BaseException):
    """Interruption without cleanup, as by kill -9."""


@pytest.mark.parametrize("swept", EVALUATED, indirect=True)
def test_a_killed_sweep_is_resumed_and_replayed_bitwise(swept, tmp_path, monkeypatch):
    blocks, taken = slab_runner.start_blocks, []

    def killed(program, values, device, state=None, **options):
        for result in blocks(program, values, device, state, **options):
            if result.num_steps > 4:
                raise ProcessKilled
            yield result

    def counted(program, values, device, state=None, **options):
        taken.append(0 if state is None else state.step)
        yield from blocks(program, values, device, state, **options)

    arguments = {
        "problem": swept.model.problem,
        "make_optimizer": partial(optax.sgd, learning_rate=swept.model.rate),
        "allow_unverified": True,
    }
    monkeypatch.setattr(slab_runner, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(slab_runner, "start_blocks", killed)
    with pytest.raises(ProcessKilled):
        sweep(swept.model, tmp_path / "killed")
    monkeypatch.setattr(slab_runner, "start_blocks", counted)
    resumed = gd.resume(tmp_path / "killed", **arguments)
    assert taken == [4]
    assert set(resumed) == set(swept.runs)
    for name, values in swept.runs.items():
        np.testing.assert_array_equal(resumed[name].values, values.values)
    again = gd.replay(tmp_path / "killed", {"seed": 1}, **arguments)
    assert again.equal  # although rounding may depend on the position of a run in its slab


@pytest.fixture(scope="module")
def cost(swept):
    """Return the deterministic cost as a function of the parameters."""
    return jax.jit(lambda params: evaluate(swept.problem, params))


@pytest.mark.parametrize("swept", EVALUATED, indirect=True)
def test_a_plane_has_the_costs_of_its_points(swept, cost):
    directions = {
        name: jax.tree.map(lambda a, f=frequency: np.cos(f * a), swept.end)
        for name, frequency in (("one", 1.0), ("other", 3.0))
    }
    result = gd.landscape.plane(swept.problem, swept.end, directions, [0.0, 0.1], [-0.2, 0.2])
    for i, a in enumerate((0.0, 0.1)):
        for j, b in enumerate((-0.2, 0.2)):
            point = jax.tree.map(
                lambda w, d, e, a=a, b=b: w + a * d + b * e, swept.end, *directions.values()
            )
            np.testing.assert_allclose(result.cost.values[i, j], cost(point), rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def dense(swept, cost):
    """Return the gradient norm and Hessian eigenvalues at the end of the first run."""
    flat, unravel = ravel_pytree(swept.end)
    of_flat = lambda w: cost(unravel(w))  # noqa: E731
    g, H = jax.jit(lambda w: (jax.grad(of_flat)(w), jax.hessian(of_flat)(w)))(flat)
    return float(jnp.linalg.norm(g)), np.linalg.eigvalsh(np.asarray(H, float))


@pytest.mark.parametrize("swept", EVALUATED, indirect=True)
def test_extreme_eigenvalues_equal_those_of_the_dense_hessian(swept, dense):
    pairs = partial(gd.curvature.extreme_eigenpairs, swept.problem, key=KEY, largest=1, smallest=1)
    result = jax.jit(pairs)(swept.end)
    values = dense[1]
    size = np.abs(values).max()
    np.testing.assert_allclose(np.sort(result.values), [values[0], values[-1]], atol=2e-3 * size)


@pytest.mark.parametrize("swept", EVALUATED, indirect=True)
def test_barriers_equal_those_of_direct_evaluation(swept, cost):
    if swept.model.problem.stateful:
        return
    result = gd.minima.pairwise_barriers(swept.problem, swept.ends, key=KEY, points=5)
    between = lambda t: jax.tree.map(lambda a: (1 - t) * a[0] + t * a[1], swept.ends)  # noqa: E731
    line = [float(cost(between(t))) for t in np.linspace(0, 1, 401)]
    rise = np.max(np.array(line) - np.linspace(line[0], line[-1], 401))
    # An adaptive solver makes the cost discontinuous by about 1e-4.
    np.testing.assert_allclose(result.barrier[0, 1], max(rise, 0), rtol=3e-3, atol=1e-5)


@pytest.mark.parametrize("swept", EVALUATED[:3], indirect=True)
def test_a_learning_rate_that_works_is_recommended(swept):
    result = gd.find_learning_rate(swept.model.problem, optax.adam, num_starts=2, horizon=8)
    assert result.status == LearningRateStatus.FOUND
    assert result.low <= result.learning_rate <= result.high
    assert result.works[result.learning_rates == result.learning_rate].all()
