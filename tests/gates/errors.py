"""Results of the invalid calls and commands of `bad_calls.py`, as JSON in a file.

A row is the class of the error ("raw" if it is not an error of gdjax) or the exit status, whether
the text names the argument, and its first line.
"""

import ast
import contextlib
import dataclasses
import io
import json
import math
import os
import re
import shlex
import shutil
import sys
import traceback
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bad_calls import CALLS, COMMANDS, SMALL

SIGNATURE = "TypeError of the call"
OWN_FILE = """
import jax.numpy as jnp
import gdjax as gd
number = 3
problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
"""


def calls() -> list[tuple[str, str, str]]:
    """Return all calls with the text that their error names and a part of its message."""
    return cases(CALLS, _arguments)


def commands() -> list[tuple[str, str, str]]:
    """Return all command lines, like the calls."""
    expanded = [(line.replace("SMALL", SMALL), *rest) for line, *rest in COMMANDS]
    return cases(expanded, str.split)


def _arguments(text):
    """Return the arguments of a call, from their text."""
    call = ast.parse(f"call({text})").body[0].value
    return [*map(ast.unparse, (*call.args, *call.keywords))]


def cases(rows, split):
    """Replace VALUE by each invalid value, and KEYWORD by each invalid argument or option."""
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


def rows() -> dict[str, str]:
    """Run all cases, and return their results as rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare()
        result = {call: of_call(call, argument, prepared) for call, argument, _ in calls()}
        return result | {
            f"gdjax {line}": of_command(line, argument) for line, argument, _ in commands()
        }


def prepare() -> dict[str, Any]:
    """Create problems, stores and files; return the namespace of the calls."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import gdjax as gd

    bowl = gd.problems.bowl([1.0, 4.0])
    net = gd.problems.supervised(
        lambda key: jax.random.normal(key, (2, 1)),
        lambda w, x: x @ w,
        lambda outputs, targets: jnp.mean((outputs - targets) ** 2),
        (np.ones((6, 2), np.float32), np.ones((6, 1), np.float32)),
    )
    grid = gd.axes(learning_rate=[0.1, 0.2], seed=[0, 1])
    runs = gd.sweep(bowl, grid, 4, store="s.zarr", snapshot_every=2)
    Path("own.py").write_text(OWN_FILE)
    Path("wrong.py").write_text("import nothing_of_this_name\n")
    Path("leaves.py").write_text("raise SystemExit(0)\n")
    Path("empty").mkdir()
    own = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
    gd.sweep(own, gd.axes(learning_rate=[0.1]), 2, store="own.zarr")
    counted = gd.Problem(
        init=lambda key: (jnp.ones(2), jnp.zeros(())),
        cost=lambda w, *, model_state: (jnp.sum(w**2), model_state + 1),
    )
    gd.sweep(counted, gd.axes(learning_rate=[0.1]), 2, store="kept.zarr")
    shutil.copytree("s.zarr", "damaged.zarr")
    for file in Path("damaged.zarr/cost").rglob("c*"):
        if file.is_file():
            raw = bytearray(file.read_bytes())
            raw[0] ^= 1
            file.write_bytes(raw)
    zero, zeros, w = lambda key: 0.0, jnp.zeros, jnp.ones(2)
    digits = gd.problems.digits(widths=(2,), samples=9)

    summed = gd.Problem(zero, lambda w, batch: w * jnp.sum(batch), data=jnp.arange(1.0, 5.0))

    def doubled(w):
        return jax.lax.while_loop(lambda u: u < 3, lambda u: 2 * u, w[0])

    def of_the_host(w):
        return jax.pure_callback(lambda a: a[0], jax.ShapeDtypeStruct((), "float32"), w)

    return {
        **{"gd": gd, "jax": jax, "jnp": jnp, "numpy": np, "optax": optax, "Path": Path},
        **{"__file__": __file__, "nan": math.nan, "inf": math.inf, "zeros": zeros},
        "partial": partial,
        **{"bowl": bowl, "net": net, "w": w, "v": net.init(jax.random.key(0))},
        **{"ax": gd.axes(learning_rate=[0.1]), "grid": grid, "apart": gd.zip_axes(seed=[1])},
        **{"zipped": gd.zip_axes(learning_rate=[0.1]), "summed": summed},
        **{"leave": gd.axes(branch_step=[1]), "at": {"learning_rate": 0.1, "seed": 0}},
        **{"sgd": optax.sgd(0.1), "key": jax.random.key(0), "flat": jnp.array([1.0, 0.0])},
        **{"runs": runs, "other": runs.drop_vars("outcome"), "counted": counted, "digits": digits},
        **{"store": Path("s.zarr"), "own": Path("own.zarr"), "damaged": Path("damaged.zarr")},
        **{"kept": Path("kept.zarr"), "folder": Path("empty"), "data": net.data},
        **{"init": lambda key: jnp.ones((2, 1)), "apply": lambda w, x: x @ w, "zero": zero},
        **{"loss": lambda outputs, targets: jnp.mean(outputs), "doubled": doubled},
        **{"same": lambda w: w, "mean": lambda w, batch: w, "of_the_host": of_the_host},
        **{"first": gd.Metric(lambda w, data: w[0]), "pair": {"2": bowl, "3": bowl}},
        **{"masked": np.ma.array([1.0, 2.0], mask=[0, 1]), "network": gd.problems.Network((2, 1))},
        "spec": gd.Sweep(bowl, gd.axes(learning_rate=[0.1]), 8),
        "biased": dataclasses.replace(digits, cost=lambda w, batch: jnp.sum(w[0].bias)),
        "timed": dataclasses.replace(digits, cost=lambda w, batch, *, t: t),
    }


def of_call(call: str, argument: str, prepared: Mapping[str, Any]) -> str:
    """Return the result of a call as a row."""
    from gdjax.errors import GdjaxError

    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            eval(call, dict(prepared))
    except Exception as error:
        kind = type(error).__name__
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        how = kind if isinstance(error, GdjaxError) else f"raw {kind}"
        if isinstance(error, TypeError) and raised_in == "<string>":
            how = SIGNATURE  # Python names the missing or unexpected argument
        return row(how, argument, str(error))
    return "accepted"


def of_command(line: str, argument: str) -> str:
    """Run a command in this process, and return its result as a row."""
    from gdjax.cli import main

    printed, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            main(shlex.split(line))
    except SystemExit as ended:
        text = errors.getvalue() or printed.getvalue()
        return row(f"exit {0 if ended.code is None else ended.code}", argument, text)
    except Exception as error:
        return row(f"raw {type(error).__name__}", argument, str(error))
    return "accepted"


def row(how: str, argument: str, text: str) -> str:
    """Return a row: result, whether the argument is named, and first line."""
    text = re.sub(r"[─│╭╮╰╯]+", " ", text)
    is_named = argument in text or argument.replace("_", "-") in text
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if "Parsing error" not in line), "")
    is_ours = "exit" not in how or first.startswith("gdjax: ")  # tyro draws boxes of several lines
    more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 and is_ours else ""
    return f"{how}; {'names' if is_named else 'does not name'} {argument}; {first[:160]}{more}"


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    Path(sys.argv[1]).write_text(json.dumps(rows()))
