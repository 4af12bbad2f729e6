"""Preflight: slab widths that depend on the cache size, and shapes of tiles."""

import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import network

import gdjax as gd
from gdjax.problems.problem import Problem
from gdjax.sweeps import SweepSpec, axes, preflight
from gdjax.sweeps.preflight import cut, fit_program


def program_of(problem, grid):
    (program,) = SweepSpec(problem, grid, 5).programs()
    return program


def fitted(problem, grid, width, devices=4):
    return fit_program(program_of(problem, grid), jax.local_devices()[:devices], width)


@pytest.mark.parametrize(
    ("shape", "most", "box"),
    [
        ((12, 8), 96, (12, 8)),
        ((12, 8), 95, (6, 8)),
        ((12, 64), 128, (12, 8)),
        ((4096,), 128, (128,)),
        ((7,), 4, (4,)),
        ((3, 3, 3), 1, (1, 1, 1)),
    ],
)
def test_the_longest_side_of_a_tile_is_halved_until_the_tile_fits(shape, most, box):
    assert cut(shape, most) == box


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("width", [None, 5])
def test_a_tile_fits_into_its_slab_and_the_stored_width_gives_an_equal_tile(width, devices):
    grid = axes(learning_rate=[0.1, 0.2, 0.3], seed=range(11))
    program = fitted(network(), grid, width, devices)
    assert len(program.slab.devices) == devices
    assert 1 <= math.prod(program.tile_shape) <= program.slab.runs
    if width is not None:
        assert program.slab.width == width
    again = fitted(network(), grid, program.slab.width, devices)
    assert (again.slab, again.tile_shape) == (program.slab, program.tile_shape)


def test_the_slab_width_depends_on_the_size_of_the_state_of_a_run(monkeypatch):
    """Parameters and gradient of a run take slightly more than 2 * 4 * 1,000 bytes."""
    problem = Problem(init=lambda key: jnp.ones(1000), cost=lambda w: jnp.sum(w**2))
    grid = axes(learning_rate=[0.1], seed=range(512))
    assert 8000 < program_of(problem, grid).shapes.nbytes < 8100
    monkeypatch.setattr(preflight, "MAX_SLAB_STATE_BYTES", 100_000)  # 12 runs fit
    assert fitted(problem, grid, None, devices=2).slab.width == 8


@pytest.mark.parametrize(
    ("batch_size", "separate", "width"),
    [(500, True, 32), (100, True, 128), (1000, True, 16), (500, False, 256)],
)
def test_states_and_mini_batches_of_runs_with_separate_orders_fit_in_the_cache_of_a_core(
    batch_size, separate, width, monkeypatch
):
    """A run takes slightly more than 800 bytes, and 8 bytes for each sample of its mini-batches."""
    problem = Problem(
        init=lambda key: jnp.ones(100),
        cost=lambda w, batch: jnp.mean(batch[0] + batch[1]) * jnp.sum(w**2),
        data=(np.ones(1000, np.float64), np.ones(1000, np.float32)),
    )
    monkeypatch.setattr(preflight, "MAX_SEPARATE_BYTES", 220_000)
    grid = axes(learning_rate=[0.1], **{"data_seed" if separate else "seed": range(256)})
    (program,) = SweepSpec(problem, grid, 3, batch_size=batch_size).programs()
    assert fit_program(program, jax.local_devices()[:1], None).slab.width == width
    monkeypatch.setattr(preflight, "MAX_SEPARATE_BYTES", 1)  # less than one run
    least = preflight.MIN_SEPARATE_WIDTH if separate else width
    assert fit_program(program, jax.local_devices()[:1], None).slab.width == least


@pytest.mark.long
@pytest.mark.parametrize(("samples", "least", "most"), [(1000, 32, 32), (16, 64, 512)])
def test_large_activations_reduce_the_width_of_a_slab(samples, least, most, monkeypatch):
    """A run has one parameter but 64 activations per sample, which fill the cache."""
    x = jnp.linspace(-1.0, 1.0, samples)[:, None] * jnp.linspace(0.1, 1.0, 64)[None]
    problem = Problem(
        init=lambda key: jnp.ones(()),
        cost=lambda w, x: jnp.mean(jnp.sin(jnp.sin(w * x) @ jnp.ones((64, 64)))),
        data=x,
    )
    monkeypatch.setattr(preflight, "MAX_SLAB_STATE_BYTES", 2**21)
    program = fitted(problem, axes(learning_rate=[0.1], seed=range(4096)), None)
    assert least <= program.slab.width <= most
    scratch = program.compiled_block.bytes.scratch
    assert program.slab.width == preflight.FIRST_WIDTH or scratch <= 1.25 * 2**21


def test_the_memory_check_allocates_no_large_arrays():
    """Parameters and gradients of 2^16 runs with 2^20 parameters would take 512 GiB."""
    problem = Problem(init=lambda key: jnp.ones(2**20), cost=lambda w: jnp.sum(w**2))
    grid = axes(learning_rate=[0.1], seed=range(2**18))
    with pytest.raises(ValueError, match=r"width = 65536: a slab needs \d\d\d,\d\d\d MiB"):
        fitted(problem, grid, 2**16)


def test_a_repeated_sweep_traces_no_function():
    """The checks of a sweep trace its functions; an equal sweep reuses the checks."""
    calls = []

    def init(key):
        calls.append("init")
        return jnp.ones(2)

    def cost(w, *, scale=1.0):
        calls.append("cost")
        return scale * jnp.sum(w**2)

    def norm(w, data):
        calls.append("norm")
        return jnp.sum(w**2)

    problem = gd.Problem(init=init, cost=cost, metrics={"norm": gd.Metric(norm)})
    first = gd.sweep(problem, gd.axes(learning_rate=[0.1, 0.2], scale=[1.0, 2.0]), 3)
    assert set(calls) == {"init", "cost", "norm"}
    calls.clear()
    again = gd.sweep(problem, gd.axes(learning_rate=[0.1, 0.2], scale=[1.0, 2.0]), 3)
    assert calls == []
    np.testing.assert_array_equal(again.cost, first.cost)


def test_a_new_axis_of_a_checked_problem_is_checked():
    problem = gd.Problem(
        init=lambda key, *, width=1.0: jnp.ones(2),
        cost=lambda w, *, scale=1.0: jnp.sum(w**2) * scale,
    )
    gd.sweep(problem, gd.axes(learning_rate=[0.1], scale=[1.0]), 1)
    with pytest.raises(gd.errors.InputError, match="width has no effect on the result of init"):
        gd.sweep(problem, gd.axes(learning_rate=[0.1], width=[1.0]), 1)


@pytest.mark.parametrize(
    "init",
    [
        lambda key: np.random.normal(size=2),  # noqa: NPY002 (users do it)
        lambda key: jnp.asarray(np.random.default_rng().normal(size=2)),
        lambda key: jnp.ones(2) * random.random(),
    ],
)
def test_an_init_that_draws_random_numbers_without_its_key_is_rejected(init):
    problem = gd.Problem(init=init, cost=lambda w: jnp.sum(w**2))
    with pytest.raises(gd.errors.InputError, match=r"init: .*random numbers drawn from the key"):
        gd.sweep(problem, gd.axes(learning_rate=[0.1], seed=range(2)), 1)


CONSTANT = np.random.default_rng(0).normal(size=2)
KEYS = jax.random.split(jax.random.key(0))


@pytest.mark.parametrize(
    "init",
    [
        lambda key: jnp.asarray(CONSTANT),
        lambda key: CONSTANT,
        lambda key: np.ones(2),
        lambda key: jnp.full(2, np.nan),
        lambda key: np.full(2, np.nan),
        lambda key: jax.random.normal(KEYS[1], (2,)),
        lambda key: jax.nn.silu(jax.nn.relu(jnp.ones(2))),  # functions that define a derivative
    ],
)
def test_a_constant_init_is_accepted(init):
    problem = gd.Problem(init=init, cost=lambda w: jnp.sum(w**2))
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.1], seed=range(2)), 1)
    expected = np.sum(np.asarray(init(None), np.float32) ** 2)
    np.testing.assert_allclose(
        runs.cost[..., 0], np.where(np.isnan(expected), np.inf, expected), rtol=1e-6
    )
