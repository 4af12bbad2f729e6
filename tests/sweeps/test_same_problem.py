"""Comparison of the passed problem or optimizer with that of a stored sweep."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

import gdjax as gd
from gdjax.cli.landscape import Landscape
from gdjax.cli.point import Origin
from gdjax.cli.problem_file import load_problem
from gdjax.errors import StoreError
from gdjax.sweeps import run_of

AT = {"learning_rate": 0.1, "seed": 1}
OWN = """
import jax, jax.numpy as jnp
import gdjax as gd

CURVATURES = jnp.array([1.0, {curvature}])
problem = gd.Problem(
    init=lambda key: {scale} * jax.random.normal(key, (2,)),
    cost=lambda w: jnp.sum(CURVATURES * w**2) / 2,
)
"""


def own(folder, curvature=10.0, scale=1.0):
    """Write a user-defined problem to a file; return its command-line argument."""
    folder.mkdir(exist_ok=True)
    file = folder / f"study_{folder.name}.py"
    file.write_text(OWN.format(curvature=curvature, scale=scale))
    return f"{file}:problem"


def swept(problem, path, **options):
    return gd.sweep(
        problem, gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1]), 4, store=path, **options
    )


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    path = tmp_path_factory.mktemp("named") / "s"
    swept(gd.problems.bowl([1.0, 10.0]), path)
    return path


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    folder = tmp_path_factory.mktemp("users")
    swept(load_problem(own(folder / "a")), folder / "s")
    return folder / "s"


def test_an_equal_problem_created_again_is_accepted(named):
    for created in (gd.problems.bowl([1.0, 10.0]), gd.problems.bowl(jnp.array([1.0, 10.0]))):
        run_of(named, AT, created)
    watched = dataclasses.replace(
        gd.problems.bowl([1.0, 10.0]), metrics={"first": gd.Metric(lambda w, data: w[0])}
    )
    run_of(named, AT, watched)


@pytest.mark.long
def test_a_random_cost_with_settings_and_data_is_compared(tmp_path):
    def made(amount):
        def cost(w, batch, *, key, temperature=1.0):
            noise = amount * jax.random.normal(key, w.shape)
            return jnp.mean((batch - w - noise) ** 2) / temperature

        return gd.Problem(init=lambda key: jnp.ones(()), cost=cost, data=jnp.arange(4.0))

    grid = gd.axes(temperature=[1.0, 2.0], batch_size=[2, 4])
    gd.sweep(made(0.5), grid, 2, store=tmp_path, make_optimizer=lambda: optax.sgd(0.1))
    at = {"temperature": 2.0, "batch_size": 4}
    assert run_of(tmp_path, at, made(0.5)).at == at
    with pytest.raises(StoreError, match=r"functions\.cost: stored"):
        run_of(tmp_path, at, made(0.25))


def test_a_command_rejects_a_different_problem(users, tmp_path, keep_devices):
    texts = tuple(f"{axis}={value}" for axis, value in AT.items())
    options = {"store": str(users), "at": texts}
    assert Origin(**options, problem=own(tmp_path / "same")).find().params.shape == (2,)
    origin = Origin(**options, problem=own(tmp_path / "other", curvature=17.0))
    with pytest.raises(StoreError, match=r"functions\.cost: stored"):
        Landscape(origin=origin, out=tmp_path / "out").run()


@pytest.mark.long
def test_an_equal_problem_in_another_process_is_accepted(users, tmp_path):
    code = """
import sys
from gdjax.cli.problem_file import load_problem
from gdjax.sweeps import run_of
run_of(sys.argv[1], {"learning_rate": 0.1, "seed": 1}, load_problem(sys.argv[2]))
"""
    for file, status in ((own(tmp_path / "c"), 0), (own(tmp_path / "d", curvature=17.0), 1)):
        command = [sys.executable, "-W", "error", "-c", code, str(users), file]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == status, run.stderr
        assert ("functions.cost: stored" in run.stderr) == bool(status)
