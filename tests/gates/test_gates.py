"""Scripts that compare two commits: tables, hashes and renamed arguments."""

import bad_calls
import commits
import compare_speed
import errors
import golden_bits
import names
import numpy as np
import pytest


def test_differences_of_tables_are_listed(monkeypatch):
    def fail(folder):
        raise ValueError("no such thing\nmore")

    cases = {"equal": lambda folder: {"cost": np.arange(3.0)}, "failed": fail}
    monkeypatch.setattr(golden_bits, "CASES", cases)
    before = golden_bits.table("")
    assert before["failed"] == "ValueError: no such thing"
    assert commits.difference("then", before, before) == ["2 rows equal those at then, 0 differ"]
    monkeypatch.setitem(cases, "equal", lambda folder: {"cost": np.nextafter(np.arange(3.0), 1)})
    monkeypatch.setitem(cases, "new", lambda folder: {"cost": np.arange(3)})
    lines = commits.difference("then", before, golden_bits.table(""))
    assert [line.split(":")[0].strip() for line in lines[:-1]] == [
        *("equal cost", "then", "here"),
        *("new cost", "then", "here"),
    ]
    assert lines[-1] == "1 rows equal those at then, 2 differ"


def test_a_hash_depends_on_type_shape_and_bits():
    a = np.zeros(4, np.float32)
    arrays = (a, -a, a.astype(np.int32), a.reshape(2, 2), np.array(["a"], object), np.zeros(2))
    assert len({golden_bits.digest(array) for array in arrays}) == len(arrays)
    assert golden_bits.digest(a) == golden_bits.digest(a.copy())


def test_arguments_are_passed_under_their_name_in_this_commit():
    library = names.library()
    bowl = library.problems.bowl([1.0, 4.0])
    options = {"num_steps": 2, "divergence_threshold": 1e3, "root_seed": 5}
    runs = library.sweep(bowl, library.axes(learning_rate=[0.1], seed=[0]), **options)
    assert runs.sizes["step"] == 3
    assert library.sweep.__name__ == "sweep"
    pair = library.zip_axes(learning_rate=[0.1, 0.2], seed=[0, 1])
    assert library.axes(pair=pair).shape == (2,)
    with pytest.raises(AttributeError, match="no_such_function"):
        library.no_such_function  # noqa: B018
    with pytest.raises(TypeError, match="no_such_argument"):
        library.sweep(bowl, library.axes(seed=[0]), 1, no_such_argument=1)


def test_a_user_defined_cost_declares_the_names_of_this_commit():
    def cost(w, *, model_state):
        return w**2 + model_state, model_state + 1

    library = names.library()
    problem = library.Problem(init=lambda key: (2.0, 0.0), cost=names.user(cost))
    runs = library.sweep(problem, library.axes(learning_rate=[0.5], seed=[0]), 2)
    assert runs.cost.values.ravel().tolist() == [4.0, 1.0, 2.0]


def test_a_commit_that_the_clone_lacks_yields_no_folder():
    with commits.checked_out("no-such-commit") as folder:
        assert folder is None


def test_a_row_states_the_result_of_a_call():
    prepared = {"gd": names.library(), "Path": commits.Path}
    assert errors.of_call("gd.axes(seed=[0])", "seed", prepared) == "accepted"
    refused = errors.of_call("gd.axes(seed=[-1])", "seed", prepared)
    assert refused.startswith("InputError; names seed; remedy; axes: seed = ")
    assert errors.of_call("1 / 0", "x", prepared) == (
        "raw ZeroDivisionError; does not name x; no remedy; division by zero"
    )
    rows = {"a": "accepted", "b": refused, "c": errors.of_call("1 / 0", "x", prepared)}
    assert errors.summary(rows) == (
        "3 cases: 1 accepted, 1 InputError, 1 raw; of the errors, 1 do not name the "
        "argument and 1 have no remedy"
    )


def test_a_row_states_the_result_of_a_command():
    assert errors.of_command("train --epochs 0", "--epochs") == (
        "exit 2; names --epochs; remedy; gdjax: --epochs 0: expected at least 1"
    )
    wrong = errors.of_command("train --no-such", "--no-such")
    assert wrong.startswith("exit 2; names --no-such; ")
    assert errors.of_command("--version", "") == "accepted"


def test_each_case_is_listed_once():
    for cases, least in ((bad_calls.CALLS, 200), (bad_calls.COMMANDS, 100)):
        assert len({call for call, *_ in cases}) == len(cases) >= least


def test_speed_is_reported_as_a_ratio_with_its_range(monkeypatch):
    ran = []

    def run(script, roots, arguments):
        (side,) = roots
        ran.append(side)
        return {side: {"s": {"then": 2.0, "here": 1.0 + len(ran) // 2}[side]}}

    monkeypatch.setattr(commits, "run", run)
    result = compare_speed.compare({"then": commits.ROOT, "here": commits.ROOT}, "first_call", 2)
    assert ran == [
        "here",
        "then",
        "then",
        "here",
    ]  # the order of the commits alternates
    assert result["first_call s"] == [(2.0, 1.0), (2.0, 3.0)]
    row = compare_speed.lines({"first_call s": result["first_call s"]}, "then")[1].split()
    assert row == ["first_call", "s", "2", "2", "1.000", "0.500", "to", "1.500"]
