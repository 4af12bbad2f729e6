"""User-defined problems in files, which only the command line may name."""

import json

import pytest

from gdjax.base import results
from gdjax.cli import main

USER_FILE = """
import jax, jax.numpy as jnp
from gdjax import Problem
from beside import DATA

def cost(w, batch, scale=1.0, *, shape="square"):
    away = batch @ w - 1
    return scale * jnp.mean(away**2 if shape == "square" else 1 - jnp.cos(away))

problem = Problem(init=lambda key: jax.random.normal(key, (2,)), cost=cost, data=DATA)

def made():
    return problem
"""

pytestmark = [
    pytest.mark.usefixtures("empty_figures"),
    pytest.mark.filterwarnings("ignore:count_minima"),  # short descents
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_line.py").write_text(USER_FILE)
    (folder / "beside.py").write_text("import numpy as np\nDATA = np.eye(2, dtype='f4')\n")
    return folder / "my_line.py"


@pytest.fixture(scope="module")
def swept(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "save_figure", lambda figure, file: file.touch())
        main(
            f"sweep --problem {file}:problem --learning-rate 0.1,0.2 --seed 0:2 --num-steps 6 "
            "--axes shape=square,wave scale=1 batch_size=1,2 --record-every 3 "
            f"--out {folder}".split()
        )
    return folder


@pytest.mark.long
def test_a_sweep_of_a_user_defined_problem_writes_a_summary(swept):
    summary = json.loads((swept / "summary.json").read_text())
    assert [row["learning_rate"] for row in summary["table"]] == [0.1, 0.2]
    assert (summary["runs"], summary["num_steps"]) == (16, 6)
    assert "optimizer" in summary["config"]
    assert "widths" not in summary["config"]


@pytest.mark.long
def test_a_store_is_resumed_replayed_and_analyzed_with_its_problem_file(
    swept, file, tmp_path, capsys
):
    store, user_defined = str(swept / "runs.zarr"), f"{file}:made"
    at = ["learning_rate=0.2", "seed=1", "shape=wave", "scale=1", "batch_size=2"]
    main(["resume", store, "--problem", user_defined, "--out", str(tmp_path)])
    main(["replay", store, "--problem", user_defined, "--at", *at])
    assert "shape=wave" in (printed := capsys.readouterr().out)
    assert "bitwise equal" in printed
    where = ["--store", store, "--problem", user_defined, "--out", str(tmp_path)]
    main(["landscape", *where, "--at", *at, "--directions", "random", "--points", "3"])
    main(["spectrum", *where, "--at", *at])
    main(["minima", *where, "--at", *at[2:]])
    assert "minim" in capsys.readouterr().out
