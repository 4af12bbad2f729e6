"""What cannot work is said before any work, and what could go faster is said once."""

import jax
import jax.numpy as jnp
import pytest
from small_problems import network

from gdjax import runs
from gdjax.errors import InputError
from gdjax.problems.problem import Measure, Problem
from gdjax.sweeps import axes, plan, sweep

BOWL = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"steps": -1}, "steps = -1"),
        ({"batch_size": 25}, "batch_size = 25, expected 1 to 24"),
        ({"record_every": 0}, "record_every = 0"),
        ({"snapshot_every": 3, "record_every": 2}, "snapshot_every = 3 is not a multiple"),
        ({"width": 0}, "width = 0"),
        ({"root": -1}, "root = -1"),
        ({"devices": ()}, "devices: none given"),
        ({"axes": axes(data_seed=[0], learning_rate=[0.1])}, "data_seed decides the order of"),
        ({"axes": axes(learning_rate=[1e39])}, r"learning_rate = 1e\+39 does not fit in float32"),
        ({"axes": axes(learning_rate=[0.1, 1e-60])}, "learning_rate = 1e-60 does not fit"),
        ({"axes": axes(learning_rate=[2**40])}, "learning_rate = 1099511627776 does not fit"),
        ({"measures": {"cost": Measure(lambda w, d: 0.0)}}, "measures: cost is an array"),
        ({"measures": {"decay": Measure(lambda w, d: 0.0)}}, "axes: decay is an array"),
        ({"measures": {"m": Measure(lambda w, d: w)}}, "measures: 'm' returned"),
    ],
)
def test_what_cannot_work_is_an_error(changed, message):
    given = {
        "problem": network(),
        "axes": axes(learning_rate=[0.1], decay=[0.0]),
        "steps": 3,
        **changed,
    }
    with pytest.raises(InputError, match=message):
        sweep(**given)


def test_memory_that_cannot_suffice_is_said_before_any_work(monkeypatch):
    called = []

    def start(key):
        jax.debug.callback(lambda: called.append(1))
        return jnp.ones(1000)

    problem = Problem(init=start, cost=lambda w: jnp.sum(w**2))
    grid = axes(learning_rate=[0.1], seed=range(64))
    monkeypatch.setattr(runs, "memory_limit", lambda device: 4 * 2**13)  # a run takes 2**13
    with pytest.raises(InputError, match=r"width = 1: a slab needs .* take fewer samples"):
        sweep(problem, grid, 3)
    monkeypatch.setattr(runs, "memory_limit", lambda device: 4 * 2**16)
    with pytest.raises(InputError, match=r"width = 16: a slab needs .* choose a smaller width"):
        sweep(problem, grid, 3, width=16)
    assert not called
    narrow = sweep(problem, grid, 3)
    assert narrow.attrs["slab_width"] in (2, 4)
    assert called


def test_one_device_of_a_cpu_is_mentioned_once(monkeypatch):
    one = jax.local_devices()[:1]
    sweep(BOWL, axes(learning_rate=[0.1]), 1, devices=one)  # chosen: nothing to say
    plan.mention_cores.cache_clear()
    monkeypatch.setattr(jax, "local_devices", lambda **_: one)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    with pytest.warns(UserWarning, match="'jax_num_cpu_devices', 2"):
        sweep(BOWL, axes(learning_rate=[0.1]), 1)
    sweep(BOWL, axes(learning_rate=[0.1]), 1)


def test_a_cost_that_sums_over_samples_is_refused_here_too():
    summed = Problem(
        init=lambda key: jax.random.normal(key, (3,)),
        cost=lambda w, batch: jnp.sum((batch @ w[:, None]) ** 2),
        data=jnp.arange(30.0).reshape(10, 3),
    )
    with pytest.raises(InputError, match=r"cost: .* expected a mean over the batch"):
        sweep(summed, axes(learning_rate=[0.1]), 2)
