"""Ctrl-C, progress bar and threads during a descent."""

import io
import os
import signal
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent.block_loop import BlockLengthController

KEY = jax.random.key(0)
BOWL = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
SLOW, START = optax.sgd(1e-9), jnp.ones(2)
FOREVER = 10**9


@pytest.fixture
def lengths(monkeypatch):
    """Return a list to which the number of steps of each block is appended."""
    steps, update = [], BlockLengthController.update

    def counted(self, num_steps, seconds):
        steps.append(num_steps)
        update(self, num_steps, seconds)

    monkeypatch.setattr(BlockLengthController, "update", counted)
    return steps


def listening():
    return signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def interrupted(problem, ready, start=START, **options):
    """Return a descent that Ctrl-C, sent from another thread, ends once `ready()` is true."""

    def press():
        while not ready():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    run = gd.descend(problem, SLOW, start, FOREVER, key=KEY, **options)
    thread.join()
    assert run.interrupted
    assert run.recorded_steps[0] == 0
    assert run.recorded_steps[-1] == run.num_steps < FOREVER
    return run


@pytest.mark.parametrize("record_every", [1000, FOREVER])
def test_after_ctrl_c_a_descent_returns_its_records_and_can_be_continued(
    record_every, python_handler, lengths
):
    run = interrupted(BOWL, lambda: sum(lengths) > 1000, record_every=record_every)
    assert len(run.cost) == len(run.recorded_steps) > 1
    assert (len(run.cost) == 2) == (record_every == FOREVER)  # Ctrl-C between two records
    assert np.all(np.isfinite(run.cost))
    assert run.outcome == gd.descent.Outcome.NOT_CONVERGED
    assert signal.getsignal(signal.SIGINT) is python_handler
    more = gd.descend(BOWL, SLOW, run, 10, key=KEY)  # the descent can be continued
    assert more.num_steps == run.num_steps + 10
    assert not more.interrupted


@pytest.mark.parametrize("batch_size", [None, 2])
def test_an_interrupted_descent_at_a_minimum_has_converged(batch_size, python_handler):
    data = jnp.array([1.0, 3.0])
    mean = gd.Problem(BOWL.init, lambda w, x: jnp.mean((w[0] - x[:, None]) ** 2), data)
    options = {"batch_size": batch_size, "record_every": FOREVER}
    run = interrupted(mean, listening, jnp.full(2, 2.0), **options)
    assert run.gradient_norm[-1] == 0
    assert run.outcome == gd.descent.Outcome.CONVERGED


def test_ctrl_c_that_arrives_too_late_to_stop_a_descent_is_reported(python_handler):
    def cost(w):
        if listening():
            signal.raise_signal(signal.SIGINT)  # while the program is compiled
        return 8 / 7 * jnp.sum(w**2)  # it shares no program, so that it is traced

    run = gd.descend(gd.Problem(BOWL.init, cost), SLOW, START, 10, key=KEY)
    assert run.interrupted
    assert run.num_steps == 10


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_short_descent_prints_nothing_even_on_a_terminal(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    gd.descend(BOWL, optax.sgd(0.1), jnp.ones(2), 300, key=KEY)
    assert terminal.getvalue() == ""
    assert capsys.readouterr().out == ""


def test_a_long_descent_shows_its_cost_on_a_terminal(monkeypatch, python_handler):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    interrupted(BOWL, lambda: "cost=2" in terminal.getvalue(), record_every=1000)


def test_a_descent_does_not_change_random_states_and_settings():
    before = (np.random.get_state()[1].tolist(), dict(jax.config.values))  # noqa: NPY002
    gd.descend(BOWL, optax.sgd(0.1), jnp.ones(2), 3, key=KEY)
    assert before == (np.random.get_state()[1].tolist(), dict(jax.config.values))  # noqa: NPY002
