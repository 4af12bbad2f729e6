"""Validation of the arguments of `sweep` before any computation."""

import dataclasses
import inspect
from functools import lru_cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.base import slabs
from gdjax.base.errors import InputError
from gdjax.descent import descend
from gdjax.problems.problem import Problem
from gdjax.sweeps import Sweep, axes, check, sweep
from gdjax.sweeps.check import Asked

pytestmark = pytest.mark.usefixtures("user_settings")
BOWL = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))


@pytest.mark.long
def test_insufficient_memory_raises_an_error_before_any_computation(monkeypatch):
    called = []

    def start(key):
        jax.debug.callback(lambda: called.append(1))
        return jnp.ones(1000)

    problem = Problem(init=start, cost=lambda w: jnp.sum(w**2))
    grid = axes(learning_rate=[0.1], seed=range(64))
    # A run takes more than this limit. It is computed alone, since it calls a function of the host.
    monkeypatch.setattr(slabs, "memory_limit", lambda device: 2**14)
    message = r"the runs that are computed together \(1\) need .* KiB, but a device has 16.0 KiB"
    with pytest.raises(InputError, match=message):
        sweep(problem, grid, 3)
    assert not called


def test_a_single_cpu_device_is_reported_once(monkeypatch):
    one = jax.local_devices()[:1]
    sweep(BOWL, axes(learning_rate=[0.1]), 1, devices=one)  # no warning if devices are passed
    check.mention_cores.cache_clear()
    monkeypatch.setattr(jax, "local_devices", lambda **_: one)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    with pytest.warns(UserWarning, match="'jax_num_cpu_devices', 2"):
        sweep(BOWL, axes(learning_rate=[0.1]), 1)
    sweep(BOWL, axes(learning_rate=[0.1]), 1)


def test_an_axis_without_effect_is_rejected_unless_a_metric_uses_it():
    def cost(w, *, idle=1.0):
        return jnp.sum(w**2)

    def init(key, *, unused=0.0):
        return jnp.ones(2)

    grid = axes(learning_rate=[0.1], idle=[1.0, 2.0])
    problem = Problem(init=init, cost=cost)
    sweep(problem, axes(learning_rate=[0.1]), 1)  # earlier checks do not replace those of new axes
    with pytest.raises(InputError, match="axes: idle has no effect on the result of the cost"):
        sweep(problem, grid, 1)
    with pytest.raises(InputError, match="axes: unused has no effect on the result of init"):
        sweep(problem, axes(learning_rate=[0.1], unused=[1.0, 2.0]), 1)
    watched = {"scaled": lambda _, w, *, settings: settings["idle"] * w[0]}
    assert sweep(problem, grid, 1, metrics=watched).scaled.shape == (1, 2, 2)


def test_the_signature_repeats_the_fields_and_defaults_of_a_sweep_and_its_place():
    every = [*dataclasses.fields(Sweep), *dataclasses.fields(Asked)[1:6]]
    parameters = inspect.signature(sweep).parameters.values()
    for field, parameter in zip(every, parameters, strict=True):
        assert field.name == parameter.name
        assert field.default in (parameter.default, dataclasses.MISSING), field.name


@pytest.mark.long
def test_grids_that_are_too_large_are_rejected_before_any_computation(tmp_path, monkeypatch):
    # With the real memory size, the result would depend on the machine.
    monkeypatch.setattr("gdjax.base.machine.memory", lambda: 24 * 2**30)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2**33))
    many = axes(learning_rate=np.linspace(0.1, 1, 1000), seed=range(1_000_000))
    with pytest.raises(
        InputError, match=r"1,000,000,000 runs need .* GiB, but the memory .* pass a store"
    ):
        sweep(BOWL, many, 100)
    with pytest.raises(
        InputError, match=r"1,000,000,000 runs need .* GiB, but the disk .* 8.0 GiB"
    ):
        sweep(BOWL, many, 1, store=tmp_path / "s")
    few = axes(learning_rate=[0.1], seed=range(1000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=9000))
    with pytest.raises(InputError, match=r"1,000 runs need .* KiB, but the disk .* has 8.8 KiB"):
        sweep(BOWL, few, 3, store=tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_in_a_distributed_run_of_several_processes_is_rejected(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(InputError, match=r"one of 4 processes of jax.distributed.* client="):
        sweep(BOWL, axes(learning_rate=[0.1]), 1)


REFUSED = {
    "init takes scale without a default; give it one: scale=1.0": lambda: sweep(
        Problem(lambda key, scale: scale * jnp.ones(2), jnp.sum), axes(scale=[1.0, 2.0]), 1
    ),
    r"schedule = gd\.descent\.WarmupCosine\(learning_rate, warmup, total\)": lambda: sweep(
        BOWL,
        axes(learning_rate=[0.1, 0.2]),
        1,
        make_optimizer=lambda learning_rate: optax.sgd(
            optax.warmup_cosine_decay_schedule(0.0, learning_rate, 2, 9)
        ),
    ),
    "data has random keys": lambda: Problem(
        lambda key: jnp.ones(2), lambda w, keys: w, jax.random.split(jax.random.key(0), 3)
    ),
    r"init: params\['b'\] has shape \(0,\), an empty array": lambda: sweep(
        Problem(lambda key: WITH_EMPTY, lambda p: jnp.sum(p["w"] ** 2)),
        axes(learning_rate=[0.1]),
        1,
    ),
    r"start: params\['b'\] has shape \(0,\), an empty array": lambda: descend(
        lambda p: jnp.sum(p["w"] ** 2), optax.sgd(0.1), WITH_EMPTY, 1, key=jax.random.key(0)
    ),
}
WITH_EMPTY = {"w": jnp.ones(2), "b": jnp.zeros(0)}


@pytest.mark.parametrize("message", REFUSED)
def test_an_error_gives_the_remedy(message):
    with pytest.raises(InputError, match=message):
        REFUSED[message]()


def test_a_leaked_tracer_has_the_text_of_jax():
    @lru_cache
    def basis():
        return jnp.arange(2.0) + 1

    with pytest.raises(jax.errors.UnexpectedTracerError, match="leaked"):
        sweep(
            Problem(lambda key: jnp.ones(2), lambda w: jnp.sum(basis() * w**2)),
            axes(learning_rate=[0.1]),
            1,
        )


def test_a_cost_with_a_rule_for_vmap_is_refused_by_name():
    square = jax.custom_batching.custom_vmap(lambda w: w**2)
    square.def_vmap(lambda size, batched, w: (w**2, batched[0]))
    problem = Problem(lambda key: jnp.ones(2), lambda w: jnp.sum(square(w)))
    with pytest.raises(InputError, match="custom_vmap has only inside"):
        sweep(problem, axes(learning_rate=[0.1]), 1)
