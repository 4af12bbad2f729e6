"""Costs with a key, a step number or a model state, compared with Python loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import same_bits

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.descent.batches import Order, recorded_rows, recorded_samples

KEYS_OF = gd.run_keys(7, seed=3, data_seed=2, noise_seed=1)
START, FIRST = jnp.array([1.0, -2.0]), {"mean": jnp.array(0.5), "batches": jnp.array(0)}
X = jnp.asarray(np.random.default_rng(0).normal(size=12), jnp.float32)
SGD = optax.sgd(0.05, momentum=0.9)


def everything(w, x, *, key, step, model_state, scale=1.0):
    """Return a regression cost with decaying noise and running batch statistics."""
    noise = jax.random.normal(key, x.shape) / (1 + step)
    value = jnp.mean((w[0] * x + w[1] + noise - scale * model_state["mean"]) ** 2)
    mean = 0.8 * model_state["mean"] + 0.2 * jnp.mean(x)
    return value, {"mean": mean, "batches": model_state["batches"] + 1}


def plain(w, x, *, model_state):
    return jnp.mean((w[0] * x + w[1] - model_state["mean"]) ** 2)


def seen(problem, w, *, model_state):
    return model_state["batches"]


def problem(**fields):
    options = {"cost": everything, "evaluation": plain, "data": X, **fields}
    return gd.Problem(init=lambda key: (START, FIRST), **options)


def by_hand(steps, rows=None):
    """Return parameters, model state, batch cost and cost at each step, from a loop."""
    w, model_state, memory, result = START, FIRST, SGD.init(START), []
    cost = jax.jit(jax.value_and_grad(everything, has_aux=True))
    for t in range(steps + 1):
        batch = X if rows is None else X[rows[t]]
        key = jax.random.fold_in(KEYS_OF.noise, t)
        (value, after), gradient = cost(w, batch, key=key, step=t, model_state=model_state)
        result.append((w, model_state, float(value), float(plain(w, X, model_state=model_state))))
        updates, memory = SGD.update(gradient, memory)
        w, model_state = optax.apply_updates(w, updates), after
    return result


def descend(steps, start=START, model_state=FIRST, **options):
    options = {"problem": problem(), "optimizer": SGD, "key": KEYS_OF, **options}
    return gd.descend(
        start=start,
        num_steps=steps,
        model_state=None if isinstance(start, gd.descent.Descent) else model_state,
        **options,
    )


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [None, 5])
def test_costs_with_key_step_and_model_state_equal_those_of_a_python_loop(batch_size):
    """Each batch updates the model state once, and records do not update it."""
    run = descend(
        20,
        batch_size=batch_size,
        record_every=6,
        snapshot_every=6,
        metrics={"seen": seen},
    )
    rows = None if batch_size is None else Order([KEYS_OF.order], 12, 5).rows(0, 21)[0]
    result = by_hand(20, rows)
    at = [0, 6, 12, 18, 20]
    assert run.recorded_steps.tolist() == at
    np.testing.assert_allclose(run.snapshots, [result[t][0] for t in at], rtol=1e-4)
    np.testing.assert_allclose(run.cost, [result[t][3] for t in at], rtol=1e-4)
    since = [np.mean([result[t][2] for t in range(a, b)]) for a, b in itertools.pairwise(at)]
    np.testing.assert_allclose(run.batch_cost[1:], since, rtol=1e-4)
    np.testing.assert_allclose(run.model_state["mean"], result[20][1]["mean"], rtol=1e-5)
    assert int(run.model_state["batches"]) == 20
    assert run.metrics["seen"].tolist() == at
    slope = jax.grad(plain)(run.params, X, model_state=run.model_state)
    assert run.gradient_norm[-1] == pytest.approx(float(jnp.linalg.norm(slope)), rel=1e-4)


@pytest.mark.parametrize("batch_size", [None, 5])
def test_a_continued_descent_equals_an_uninterrupted_one(batch_size):
    complete = descend(30, batch_size=batch_size, record_every=4)
    first = descend(9, batch_size=batch_size, record_every=4)
    rest = descend(21, first, batch_size=batch_size, record_every=4)
    assert jax.tree.all(jax.tree.map(same_bits, rest.carry.state, complete.carry.state))
    joined = {
        *zip(first.recorded_steps, first.cost, strict=True),
        *zip(rest.recorded_steps, rest.cost, strict=True),
    }
    assert joined >= {*zip(complete.recorded_steps, complete.cost, strict=True)}


@pytest.mark.parametrize("batch_size", [None, 5])
def test_records_may_use_a_subset_of_the_samples(batch_size):
    line = gd.Problem(
        init=lambda key: START, cost=lambda w, x: jnp.mean((w[0] * x + w[1]) ** 2), data=X
    )
    options = {"key": KEYS_OF, "batch_size": batch_size, "record_every": 5}
    run = gd.descend(line, SGD, START, 10, record_samples=4, **options)
    complete = gd.descend(line, SGD, START, 10, **options)
    np.testing.assert_allclose(run.params, complete.params, rtol=1e-6)
    part = recorded_samples(line, 4)
    assert part.shape == (4,)
    assert run.cost[-1] == pytest.approx(float(line.cost(run.params, part)), rel=1e-5)
    slope = jnp.linalg.norm(jax.grad(line.cost)(run.params, part))
    assert run.gradient_norm[-1] == pytest.approx(float(slope), rel=1e-4)


def test_a_cost_that_couples_samples_is_not_split_into_microbatches():
    """A variance over 2,500 samples is not the mean variance of three microbatches."""
    x = jnp.sin(jnp.arange(2500.0) ** 2)
    spread = gd.Problem(
        init=lambda key: START,
        cost=lambda w, x: jnp.var(w[0] * x**2 + w[1]),
        data=x,
        couples_samples=True,
    )
    run = gd.descend(spread, optax.sgd(0.1), START, 1, key=KEYS_OF)
    np.testing.assert_allclose(run.cost[0], spread.cost(START, x), rtol=1e-5)
    expected = START - 0.1 * jax.grad(spread.cost)(START, x)
    np.testing.assert_allclose(run.params, expected, rtol=1e-5)


def contrastive(w, x):
    """Return the InfoNCE loss between the two views of each sample of a batch."""
    a, b = w[0] * x[:, 0], w[1] * x[:, 1]
    logits = a[:, None] * b[None]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.diag(logits))


def contrastive_by_hand(w, x):
    a, b = w[0] * x[:, 0], w[1] * x[:, 1]
    logits = np.outer(a, b)
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - np.diag(logits))


VIEWS = np.random.default_rng(5).normal(size=(50, 2)).astype(np.float32)


@pytest.mark.long
@pytest.mark.parametrize("record_samples", [None, 20])
def test_records_of_a_cost_that_couples_samples_are_means_over_fixed_batches(record_samples):
    """The cost depends on the number of samples, so these batches have the batch size."""
    problem = gd.Problem(init=lambda key: START, cost=contrastive, data=VIEWS, couples_samples=True)
    options = {"key": KEYS_OF, "batch_size": 8, "record_samples": record_samples}
    run = gd.descend(problem, SGD, START, 3, **options)
    rows = recorded_rows(problem, record_samples, 8)
    assert rows.shape == ((6, 8) if record_samples is None else (2, 8))
    assert len(np.unique(rows)) == rows.size
    at_start = np.mean([contrastive_by_hand(np.asarray(START), VIEWS[r]) for r in rows])
    np.testing.assert_allclose(run.cost[0], at_start, rtol=1e-5)
    mean = lambda w: sum(contrastive(w, VIEWS[r]) for r in rows) / len(rows)  # noqa: E731
    np.testing.assert_allclose(run.cost[-1], mean(run.params), rtol=1e-5)
    slope = jnp.linalg.norm(jax.grad(mean)(run.params))
    np.testing.assert_allclose(run.gradient_norm[-1], slope, rtol=1e-4)
    # The cost over all 50 samples exceeds that over batches of 8, by about log(50 / 8).
    assert abs(contrastive_by_hand(np.asarray(START), VIEWS) - at_start) > 1
    del options["key"]
    swept = gd.sweep(problem, gd.axes(learning_rate=[0.05]), 0, **options)
    np.testing.assert_allclose(swept.cost[0], at_start, rtol=1e-5)
    name = swept.cost.attrs["long_name"]
    assert name == f"mean cost over {len(rows)} fixed batches of 8 samples"


@pytest.mark.long
def test_records_of_a_random_cost_are_means_over_fixed_batches_and_eight_keys():
    def masked(w, x, *, key):
        return jnp.mean((w[0] * x * jax.random.bernoulli(key, 0.5, x.shape) + w[1]) ** 2)

    problem = gd.Problem(init=lambda key: START, cost=masked, data=VIEWS)
    options = {"batch_size": 8, "record_samples": 20}
    run = gd.descend(problem, SGD, START, 0, key=KEYS_OF, **options)
    rows = recorded_rows(problem, 20, 8)
    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), 8)
    expected = np.mean([masked(START, VIEWS[r], key=k) for r in rows for k in keys])
    np.testing.assert_allclose(run.cost[0], expected, rtol=1e-5)


def test_a_coupled_cost_that_does_not_fit_in_memory_raises_an_error(monkeypatch):
    monkeypatch.setattr("gdjax.base.slabs.memory_limit", lambda device: 2**20)
    pairs = gd.Problem(
        init=lambda key: START,
        cost=lambda w, x: jnp.mean(jnp.exp(w[0] * x[:, None] * x[None])),
        data=jnp.ones(3000),
        couples_samples=True,
    )
    # A batch fits, and a record needs no more memory than a batch.
    run = gd.descend(pairs, SGD, START, 1, key=KEYS_OF, batch_size=30)
    np.testing.assert_allclose(run.cost[0], np.exp(float(START[0])), rtol=1e-5)
    with pytest.raises(InputError, match=r"MiB.*a smaller batch_size and record_samples"):
        gd.descend(pairs, SGD, START, 1, key=KEYS_OF)


SCHEDULE_FREE = {
    "alone": lambda: optax.contrib.schedule_free_sgd(0.1),
    "in a chain": lambda: optax.chain(
        optax.clip_by_global_norm(2.0), optax.contrib.schedule_free_sgd(0.1)
    ),
    "with momentum": lambda: optax.contrib.schedule_free_adamw(0.1),
}


@pytest.mark.parametrize("name", SCHEDULE_FREE)
def test_schedule_free_descent_is_recorded_at_its_evaluation_parameters(name):
    """By default, the evaluation parameters are those of Optax's formula."""
    optimizer = SCHEDULE_FREE[name]()
    bowl = gd.Problem(init=lambda key: START, cost=lambda w: jnp.sum((w - 3) ** 2))
    read = optax.contrib.schedule_free_eval_params
    explicit = {"eval_params_fn": read} if name == "alone" else {}
    options = {"key": KEYS_OF, "snapshot_every": 1, **explicit}
    run = gd.descend(bowl, optimizer, START, 6, **options)
    w, opt_state, points = START, optimizer.init(START), []
    for _ in range(7):
        points.append(read(opt_state[1] if name == "in a chain" else opt_state, w))
        updates, opt_state = optimizer.update(jax.grad(bowl.cost)(w), opt_state, w)
        w = optax.apply_updates(w, updates)
    np.testing.assert_allclose(run.snapshots, points, rtol=1e-5)
    np.testing.assert_allclose(run.cost, [bowl.cost(p) for p in points], rtol=1e-5)
    np.testing.assert_allclose(run.params, points[-1], rtol=1e-5)
    assert not np.allclose(run.carry.state.params, run.params)
    more = gd.descend(bowl, optimizer, run, 4, **options)
    assert same_bits(more.params, gd.descend(bowl, optimizer, START, 10, **options).params)


@pytest.mark.long
def test_a_schedule_free_state_of_some_parameters_needs_an_explicit_eval_params_fn():
    start = {"a": START, "b": START}
    bowl = gd.Problem(lambda key: start, lambda w: jnp.sum((w["a"] - 3) ** 2 + w["b"] ** 2))
    rules = {"free": optax.contrib.schedule_free_sgd(0.1), "plain": SGD}
    part = optax.partition(rules, {"a": "free", "b": "plain"})
    with pytest.raises(InputError, match="part of the parameters"):
        gd.descend(bowl, part, start, 1, key=KEYS_OF)
    run = gd.descend(bowl, part, start, 1, key=KEYS_OF, eval_params_fn=lambda _, params: params)
    np.testing.assert_array_equal(run.params["a"], run.carry.state.params["a"])
