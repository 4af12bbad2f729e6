"""Errors of invalid calls and command lines: one line that names the argument."""

import ast
import dataclasses
import functools
import math
import os
import re
import shlex
import shutil
import traceback
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bad_calls import CALLS, COMMANDS, SMALL

import gdjax as gd
from gdjax.base.errors import DataError, InputError, StoreError
from gdjax.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        bool(os.environ.get("CHECK_ANNOTATIONS")), reason="errors of gdjax, not of its annotations"
    ),
]
OWN_FILE = """
import jax.numpy as jnp
import gdjax as gd
number = 3
problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
"""


def _arguments(text):
    """Return the arguments of a call, from their text."""
    call = ast.parse(f"call({text})").body[0].value
    return [*map(ast.unparse, (*call.args, *call.keywords))]


def cases(rows, split) -> list[tuple[str, str, str]]:
    """Return all calls with the text that their error names and a part of its message.

    VALUE is replaced by each invalid value, and KEYWORD by each invalid argument or option.
    """
    result = []
    for call, argument, *rest in rows:
        if "KEYWORD" in call:
            for keyword in split(argument):
                name, _, value = keyword.partition("=")
                passed = f"{name} {value}" if name.startswith("-") else keyword
                result.append((call.replace("KEYWORD", passed), name, ""))
        elif "VALUE" in call:
            result += [(call.replace("VALUE", value), argument, "") for value in split(*rest)]
        else:
            result.append((call, argument, *(rest or [""])))
    return result


def prepare() -> dict[str, Any]:
    """Create problems, stores and files in the working folder; return the names in the calls."""
    numpy, partial, zeros, nan, inf = np, functools.partial, jnp.zeros, math.nan, math.inf
    w, flat, key, sgd = jnp.ones(2), jnp.array([1.0, 0.0]), jax.random.key(0), optax.sgd(0.1)
    masked = np.ma.array([1.0, 2.0], mask=[0, 1])

    # Functions and problems
    zero, same, mean = lambda key: 0.0, lambda w: w, lambda w, batch: w
    first = gd.Metric(lambda w, data: w[0])
    init, apply = lambda key: jax.random.normal(key, (2, 1)), lambda w, x: x @ w
    loss = lambda outputs, targets: jnp.mean((outputs - targets) ** 2)  # noqa: E731
    data = np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)
    net, network = gd.problems.supervised(init, apply, loss, data), gd.problems.Network((2, 1))
    v = net.init(key)
    digits = gd.problems.digits(widths=(2,), samples=9)
    timed = dataclasses.replace(digits, cost=lambda w, batch, *, t: t)
    biased = dataclasses.replace(digits, cost=lambda w, batch: jnp.sum(w[0].bias))
    summed = gd.Problem(zero, lambda w, batch: w * jnp.sum(batch), data=jnp.arange(1.0, 5.0))
    bowl = gd.problems.bowl([1.0, 4.0])
    pair = {"2": bowl, "3": bowl}
    mine = gd.Problem(lambda key: w, lambda w: jnp.sum(w**2))
    counted = gd.Problem(
        lambda key: (w, jnp.zeros(())),
        lambda w, *, model_state: (jnp.sum(w**2), model_state + 1),
    )
    scales = gd.Problem(
        lambda key, *, scale=1.0: scale * w, lambda w, *, scale=1.0, heat=1.0: scale * w[0] / heat
    )

    def doubled(w):
        return jax.lax.while_loop(lambda u: u < 3, lambda u: 2 * u, w[0])

    def of_the_host(w):
        return jax.pure_callback(lambda a: a[0], jax.ShapeDtypeStruct((), "float32"), w)

    # Axes, sweeps and stores
    ax, leave = gd.axes(learning_rate=[0.1]), gd.axes(branch_step=[1])
    grid, at = gd.axes(learning_rate=[0.1, 0.2], seed=[0, 1]), {"learning_rate": 0.1, "seed": 0}
    zipped, apart = gd.zip_axes(learning_rate=[0.1]), gd.zip_axes(seed=[1])
    spec = gd.Sweep(bowl, ax, 8)
    store, own, with_state = Path("s.zarr"), Path("own.zarr"), Path("with_state.zarr")
    runs = gd.sweep(bowl, grid, 4, store=store, snapshot_every=2)
    other = runs.drop_vars("outcome")
    user = {"make_optimizer": lambda learning_rate: optax.sgd(learning_rate, momentum=0.5)}
    gd.sweep(mine, ax, 2, store=own, **user)
    gd.sweep(counted, ax, 2, store=with_state)
    damaged = Path(shutil.copytree(store, "damaged.zarr"))
    for file in (damaged / "cost").rglob("c*"):
        if file.is_file():
            raw = bytearray(file.read_bytes())
            raw[0] ^= 1
            file.write_bytes(raw)
    folder = Path("empty")
    folder.mkdir()
    Path("own.py").write_text(OWN_FILE)
    Path("wrong.py").write_text("import nothing_of_this_name\n")
    Path("leaves.py").write_text("raise SystemExit(0)\n")
    return {**globals(), **locals()}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Return the names in the calls; the working folder has their stores and files."""
    with pytest.MonkeyPatch.context() as patch, jax.numpy_rank_promotion("allow"):
        patch.chdir(tmp_path_factory.mktemp("calls"))
        patch.setenv("COLUMNS", "100")
        yield prepare()


def reason(text):
    """Return the beginning of the first line that states a reason."""
    lines = (" ".join(line.split()) for line in text.splitlines())
    return next(line for line in lines if line and "Parsing error" not in line)[:160]


@pytest.mark.parametrize(("call", "argument", "message"), cases(CALLS, _arguments))
def test_an_invalid_call_raises_a_one_line_error(names, call, argument, message):
    with pytest.raises((InputError, DataError, StoreError, TypeError)) as caught:
        eval(call, dict(names))
    text, kind = str(caught.value), type(caught.value)
    assert kind in (InputError, DataError, StoreError, TypeError)
    if kind is TypeError:  # Python names an argument that the function has not
        assert traceback.extract_tb(caught.value.__traceback__)[-1].filename == "<string>"
    assert argument in text
    assert message in reason(text)
    assert "\n" not in text.strip()


@pytest.mark.parametrize(("line", "argument", "message"), cases(COMMANDS, str.split))
def test_an_invalid_command_line_exits_with_status_2_and_states_the_reason(
    names, line, argument, message, capsys
):
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(line.replace("SMALL", SMALL)))
    printed = capsys.readouterr()
    text = re.sub(r"[─│╭╮╰╯]+", " ", printed.err or printed.out).strip()
    assert ended.value.code == 2
    assert argument in text or argument.replace("_", "-") in text
    assert message in reason(text)
    assert "\n" not in text or not text.startswith("gdjax: ")  # tyro draws boxes of several lines
