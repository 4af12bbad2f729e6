"""Parameters for a command, from a stored run, a file, or a new descent."""

import json

import jax
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.cli import main
from gdjax.cli.point import Origin


def equal(a, b):
    return jax.tree.all(jax.tree.map(np.array_equal, a, b))


@pytest.mark.long
def test_the_result_of_a_new_descent_equals_that_of_descend():
    point = Origin(epochs=1, batch_size=400, seed=3, learning_rate=2.0).find()
    problem, streams = gd.problems.digits("mnist5k"), gd.run_keys(0, seed=3)
    start = problem.init(streams.init)
    run = gd.descend(problem, optax.sgd(2.0), start, 10, key=streams.order, batch_size=400)
    for stored, expected in zip(
        jax.tree.leaves(point.params), jax.tree.leaves(run.params), strict=True
    ):
        np.testing.assert_allclose(stored, expected, atol=1e-6)
    assert point.step.tolist() == list(range(11))
    assert equal(jax.tree.map(lambda a: a[0], point.snapshots), start)
    assert equal(jax.tree.map(lambda a: a[-1], point.snapshots), point.params)


@pytest.mark.long
def test_parameters_are_loaded_from_a_run_of_a_store(tmp_path):
    problem = gd.problems.digits("mnist5k", widths=(4,), samples=50)
    grid = gd.axes(learning_rate=[0.1, 1.0], seed=range(2), temperature=[0.5, 2.0])
    runs = gd.sweep(problem, grid, 4, store=tmp_path / "s", snapshot_every=2)
    at = ("learning_rate=1", "seed=1", "temperature=0.5")
    point = Origin(store=str(tmp_path / "s"), at=at).find()
    values = {"learning_rate": 1.0, "seed": 1, "temperature": 0.5}
    assert equal(point.params, gd.params_of(runs, problem.init(jax.random.key(0)), values))
    assert point.step.tolist() == [0, 2, 4]
    assert (point.learning_rate, point.momentum) == (1.0, 0.0)
    assert "learning rate 1" in point.label
    # The cost of the loaded problem uses the temperature of the run.
    params = jax.tree.map(lambda a: a[1], point.snapshots)
    cost = float(point.problem.cost(params, point.problem.data))
    assert cost == pytest.approx(float(runs.cost.sel(values).sel(step=2)), rel=1e-5)


@pytest.mark.long
@pytest.mark.usefixtures("empty_figures")
def test_parameters_are_loaded_from_the_output_files_of_train(tmp_path):
    flags = "--epochs 1 --batch-size 200 --widths 5 --optimizer momentum --learning-rate 0.5"
    main(["train", "--recipe", "plain", *flags.split(), "--out", str(tmp_path)])
    point = Origin(params=tmp_path / "params.npz").find()
    summary = json.loads((tmp_path / "summary.json").read_text())
    cost = float(point.problem.cost(point.params, point.problem.data))
    assert cost == pytest.approx(summary["final_cost"], rel=1e-4)
    assert (point.learning_rate, point.momentum) == (0.5, 0.9)
    assert point.snapshots is None

    with np.load(tmp_path / "params.npz") as arrays:
        np.savez(tmp_path / "few.npz", **{name: a[:1] for name, a in arrays.items()})
    with pytest.raises(
        InputError, match=r"few.npz: the file does not contain the parameters of the network"
    ):
        Origin(params=tmp_path / "few.npz").find()


@pytest.mark.long
@pytest.mark.usefixtures("empty_figures")
def test_a_recipe_sets_the_learning_rate(tmp_path):
    main(f"train --recipe plain --num-steps 2 --widths 3 --out {tmp_path}".split())
    point = Origin(params=tmp_path / "params.npz").find()
    assert point.learning_rate == 1.0
    assert "learning rate 1, not converged" in point.label
    summary = json.loads((tmp_path / "summary.json").read_text())
    summary["trained"]["held"] = False
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    point = Origin(params=tmp_path / "params.npz").find()
    assert point.learning_rate is None
    assert "learning rate 1 at its peak, not converged" in point.label


TRAINED = {"data": "mnist5k", "optimizer": "sgd", "learning_rate": 1.0, "held": True}


@pytest.mark.parametrize(
    "summary",
    [
        None,
        "{",
        '{"a":' * 10**5,
        {},
        {"outcome": "\x1b[2J"},
        {"trained": 3},
        {"trained": TRAINED | {"data": "\x1b[2J"}},
        {"trained": TRAINED | {"data": 3}},
        {"trained": TRAINED | {"optimizer": "os.system"}},
        {"trained": TRAINED | {"learning_rate": "fast"}},
        {"trained": TRAINED | {"held": 3}},
    ],
)
def test_a_missing_or_invalid_summary_is_rejected(summary, tmp_path):
    (tmp_path / "params.npz").touch()
    if summary is not None:
        valid = {"problem": {"problem": "digits"}, "outcome": "not_converged", "trained": TRAINED}
        text = summary if isinstance(summary, str) else json.dumps(summary and valid | summary)
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=r"no valid summary.json of `gdjax train`") as caught:
        Origin(params=tmp_path / "params.npz").check()
    assert str(caught.value).isprintable()
    with pytest.raises(InputError, match=r"nosuch.npz: there is no such file"):
        Origin(params=tmp_path / "nosuch.npz").check()
