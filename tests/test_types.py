"""Types that type checkers infer through the lazy imports of gdjax."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.processes import python

ROOT = Path(__file__).parent.parent

PROGRAM = """
import gdjax as gd
import jax
import jax.numpy as jnp
import optax

problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
run = gd.descend(problem, optax.sgd(0.1), jnp.ones(2), 3, key=jax.random.key(0))
reveal_type(gd.Problem)
reveal_type(run)
reveal_type(gd.descend)
reveal_type(gd.sweep)
reveal_type(gd.axes)
reveal_type(gd.find_learning_rate)
reveal_type(gd.plot)
reveal_type(gd.replay)
reveal_type(gd.problems.digits)
reveal_type(gd.curvature.classify)
reveal_type(gd.landscape.plane_directions)
reveal_type(gd.minima.count_minima)
reveal_type(gd.plots.landscapes.planes)
reveal_type(gd.stores.verify)
reveal_type(gd.data.load)
grid = gd.axes(learning_rate=[0.1])
reveal_type(gd.sweeps.table)
runs = gd.sweep(problem, grid, 3, store="runs.zarr")
reveal_type(runs)
reveal_type(gd.branch("runs.zarr", {"learning_rate": 0.1}, gd.axes(branch_step=[1])))
reveal_type(gd.extend("runs.zarr", num_steps=5, to="more.zarr"))
reveal_type(gd.resume("runs.zarr"))
reveal_type(gd.replay("runs.zarr", {"learning_rate": 0.1}).dataset)
gd.sweep(problem, grid, 3, batch_sise=3)
gd.no_such_name
gd.plot(run, titel="x")
"""


@pytest.mark.long
def test_pyright_infers_types_and_finds_errors(tmp_path):
    pytest.importorskip("pyright")
    (tmp_path / "program.py").write_text(PROGRAM)
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "program.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = python(*command, status=1, cwd=tmp_path, env=environment)  # it finds errors
    found = json.loads(done.stdout)["generalDiagnostics"]
    types = [
        re.sub(r'^Type of ".*?" is "(.*)"$', r"\1", entry["message"], flags=re.DOTALL)
        for entry in found
        if entry["severity"] == "information"
    ]
    errors = [entry["message"] for entry in found if entry["severity"] == "error"]
    assert len(types) == PROGRAM.count("reveal_type")
    assert not [kind for kind in types if re.fullmatch(r"(Any|Unknown|Module.*)", kind)]
    assert any("Descent" in kind for kind in types)
    for mistake in ("no_such_name", "titel", "batch_sise"):
        assert any(mistake in error for error in errors)
    assert [kind.rpartition(".")[2] for kind in types[-5:]] == ["Dataset"] * 5
