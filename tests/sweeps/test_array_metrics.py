"""Array-valued metrics; `test_extend` extends a sweep that has one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import same_bits

import gdjax as gd

SAMPLES, CLASSES, STEPS = 21, 4, 9  # 21 is not a multiple of 8: the last byte is padded
RATES, SEEDS = [0.1, 0.3, 0.9, 40.0], range(4)  # the last rate diverges
DECAY = 0.9


def samples():
    random = np.random.default_rng(3)
    inputs = random.normal(size=(SAMPLES, 3)).astype(np.float32)
    return inputs, (np.abs(inputs[:, 0] * 3) % (CLASSES - 1)).astype(np.int32)  # no label 3


def apply(params, inputs):
    return jnp.tanh(inputs @ params["in"]) @ params["out"] + params["bias"][None]


def init(key):
    first, second = jax.random.split(key)
    return {
        "in": jax.random.normal(first, (3, 5)),
        "out": jax.random.normal(second, (5, CLASSES)),
        "bias": jnp.zeros(CLASSES),
    }


def is_right(problem, params):
    inputs, labels = problem.data
    return jnp.argmax(problem.predict(params, inputs), axis=-1) == labels


def class_accuracy(problem, params):
    of_class = jax.nn.one_hot(problem.data[1], CLASSES)
    return is_right(problem, params).astype(of_class.dtype) @ of_class / jnp.sum(of_class, axis=0)


def correct_samples(problem, params):
    """Return which samples are classified correctly, as bits."""
    return jnp.packbits(is_right(problem, params))


def unpack_bits(bits, samples):
    return np.unpackbits(np.asarray(bits).astype(np.uint8), axis=-1, count=samples).astype(bool)


def moment_of_biases(problem, params, *, opt_state):
    return opt_state[0].trace["bias"]


def drawn(problem, params, *, key):
    return jax.random.normal(key, (2,))


def halves(problem, params, *, step):
    return step // 2


PLAIN = gd.problems.supervised(
    init, apply, optax.losses.softmax_cross_entropy_with_integer_labels, samples()
)
MEASURES = {
    "by_class": gd.Metric(class_accuracy, dims=("class",)),
    "right": gd.Metric(correct_samples, every=4, dims=("byte",), dtype="uint8"),
    "moment": gd.Metric(moment_of_biases, dims=("bias",)),
    "drawn": gd.Metric(drawn, dims=("draw",), every=2),
    "halves": gd.Metric(halves, dtype="int16"),
}
PROBLEM = gd.Problem(**{**vars(PLAIN), "metrics": MEASURES})


@pytest.fixture(scope="module")
def runs():
    """Return the Dataset of sixteen runs."""
    return gd.sweep(
        PROBLEM,
        gd.axes(learning_rate=RATES, seed=SEEDS),
        STEPS,
        make_optimizer=partial(optax.sgd, momentum=DECAY),
        divergence_threshold=20.0,
        snapshot_every=1,
        devices=jax.local_devices()[:1],
    )


@pytest.mark.long
def test_metrics_equal_those_computed_from_the_parameters_with_numpy(runs):
    inputs, labels = samples()
    stored = [runs[f"snapshots.{n}"].values for n in ("in", "out", "bias")]
    for name, values in zip(("in", "out", "bias"), stored, strict=True):
        assert same_bits(values[:, :, -1], runs[f"params.{name}"])
    hidden = np.tanh(np.einsum("ni,rstih->rstnh", inputs, stored[0]))
    outputs = np.einsum("rstnh,rsthk->rstnk", hidden, stored[1]) + stored[2][..., None, :]
    right = outputs.argmax(-1) == labels  # whether each sample is classified correctly
    assert runs.by_class.dims == ("learning_rate", "seed", "step", "class")
    of_class = [right[..., labels == k].mean(-1) for k in range(CLASSES - 1)]
    np.testing.assert_allclose(runs.by_class[..., :3], np.stack(of_class, -1), rtol=1e-6)
    assert np.isnan(runs.by_class[..., 3]).all()  # no sample has that label
    assert runs.right.dims == ("learning_rate", "seed", "right_step", "byte")
    assert (runs.right.dtype, runs.right.sizes["byte"]) == (np.uint8, 3)
    assert runs.right_step.values.tolist() == [0, 4, 8, 9]
    np.testing.assert_array_equal(unpack_bits(runs.right, SAMPLES), right[:, :, [0, 4, 8, 9]])
    assert 0.2 < right.mean() < 0.9


def test_a_metric_is_called_with_the_optimizer_state_before_the_step(runs):
    """w_{t+1} = w_t - rate m_{t+1}, and the metric of record t + 1 receives m_{t+1}."""
    bias = runs["snapshots.bias"].values
    moved = -np.diff(bias, axis=2) / np.array(RATES)[:, None, None, None]
    known = (runs.diverged_at.values < 0)[..., None, None]
    np.testing.assert_array_equal(runs.moment[:, :, 0], 0)
    np.testing.assert_allclose(runs.moment[:, :, 1:], np.where(known, moved, runs.moment[:, :, 1:]),
                               atol=1e-4)  # fmt: skip
    assert known.sum() == 12


def test_keys_are_derived_from_the_seed_and_the_step(runs):
    steps = runs.drawn_step.values
    assert steps.tolist() == [0, 2, 4, 6, 8, 9]
    probes = gd.run_keys(0, seed=np.array(SEEDS)).probes
    for seed in SEEDS:
        for number, step in enumerate(steps):
            expected = jax.random.normal(jax.random.fold_in(probes[seed], step), (2,))
            for rate in range(len(RATES)):
                np.testing.assert_array_equal(runs.drawn[rate, seed, number], expected)


def test_a_diverged_run_is_frozen_and_its_metrics_are_masked(runs):
    at = runs.diverged_at.values
    assert (at[-1] > 0).all()
    assert (at[:-1] < 0).all()
    for name in ("right", "halves"):
        steps = runs["step" if name == "halves" else "right_step"].values
        known = (at[..., None] < 0) | (steps < at[..., None])
        assert runs[f"{name}_known"].dtype == bool
        np.testing.assert_array_equal(runs[f"{name}_known"], known)
        assert 0 < known[-1].sum() < known[-1].size
    frozen = runs.right.values[-1, 0]
    first = np.searchsorted(runs.right_step.values, at[-1, 0])
    assert (frozen[first:] == frozen[-1]).all()
    assert runs.halves.dtype == np.int16
    np.testing.assert_array_equal(runs.halves, np.broadcast_to(np.arange(10) // 2, (4, 4, 10)))
    assert runs.halves.attrs["long_name"] == "halves"


@pytest.mark.long
def test_a_single_descent_records_array_metrics():
    keys = gd.run_keys(0, seed=2)
    start = PROBLEM.init(keys.init)
    sgd = optax.sgd(0.3, DECAY)
    run = gd.descend(PROBLEM, sgd, start, 5, key=keys, snapshot_every=1)
    assert set(run.metrics) == set()
    assert {name: one.steps.tolist() for name, one in run.arrays.items()} == {
        "by_class": [*range(6)], "right": [0, 4, 5], "moment": [*range(6)], "drawn": [0, 2, 4, 5],
        "halves": [*range(6)],
    }  # fmt: skip
    outputs = np.asarray(jax.vmap(apply, (0, None))(run.snapshots, samples()[0]))
    right = np.argmax(outputs, -1) == samples()[1]
    np.testing.assert_array_equal(
        unpack_bits(run.arrays["right"].values, SAMPLES), right[[0, 4, 5]]
    )
    more = gd.descend(PROBLEM, sgd, run, 4, key=keys)
    assert more.arrays["right"].steps.tolist() == [8, 9]
    complete = gd.descend(PROBLEM, sgd, start, 9, key=keys)
    for name, one in complete.arrays.items():
        late = np.isin(one.steps, more.arrays[name].steps)
        assert same_bits(one.values[late], more.arrays[name].values), name
