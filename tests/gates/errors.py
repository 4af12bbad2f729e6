"""Print the results of invalid calls and commands, or changes since a commit.

    python tests/gates/errors.py                    # the table
    python tests/gates/errors.py --against HEAD~1   # the differences

For each case of `bad_calls.py`, the script prints the class of the error ("raw" if it is not an
error of gdjax) or the exit status, whether the text names the argument and a remedy, and its first
line.
"""

import collections
import contextlib
import dataclasses
import io
import math
import os
import re
import shlex
import shutil
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import commits
import names
from bad_calls import CALLS, COMMANDS

REMEDY = re.compile(
    r"\b(add|call|check|choices|choose|declare|did you mean|distribute|expected|fix|give|install|"
    r"keep|leave|name (another|at|each)|pass|rename|required|restore|run|see|set|start|take|try|"
    r"use|valid are)\b",
    re.IGNORECASE,
)
SIGNATURE = "TypeError of the call"
OWN_FILE = """
import jax.numpy as jnp
import gdjax as gd
number = 3
problem = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
"""


def table(only: str) -> dict[str, str]:
    """Run the cases whose text contains `only`, and return their results as rows."""
    rows = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare()
        for call, argument, _ in CALLS:
            if only in call:
                rows[call] = of_call(call, argument, prepared)
        for line, argument, _ in COMMANDS:
            if only in f"gdjax {line}":
                rows[f"gdjax {line}"] = of_command(line, argument)
    return rows


def prepare() -> dict[str, Any]:
    """Create problems, stores and files; return the namespace of the calls."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    gd = names.library()
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
    return {
        **{
            "gd": gd,
            "jax": jax,
            "jnp": jnp,
            "numpy": np,
            "optax": optax,
            "Path": Path,
            "__file__": __file__,
        },
        **{"nan": math.nan, "inf": math.inf, "zeros": jnp.zeros, "key": jax.random.key(0)},
        **{"bowl": bowl, "net": net, "w": jnp.ones(2), "v": net.init(jax.random.key(0))},
        **{"ax": gd.axes(learning_rate=[0.1]), "grid": grid, "sgd": optax.sgd(0.1), "runs": runs},
        **{"store": Path("s.zarr"), "own": Path("own.zarr"), "damaged": Path("damaged.zarr")},
        **{"kept": Path("kept.zarr"), "counted": counted, "dataclasses": dataclasses},
        **{"folder": Path("empty"), "flat": jnp.array([1.0, 0.0]), "data": net.data},
        **{"init": lambda key: jnp.ones((2, 1)), "apply": lambda w, x: x @ w},
        "loss": lambda outputs, targets: jnp.mean(outputs),
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
        if isinstance(error, TypeError) and raised_in in ("<string>", names.__file__):
            how = SIGNATURE  # Python names the missing or unexpected argument
        return row(how, argument, str(error))
    return "accepted"


def of_command(line: str, argument: str) -> str:
    """Run a command in this process, and return its result as a row."""
    from gdjax.cli import main

    printed, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            main(shlex.split(names.flags(line)))
    except SystemExit as ended:
        text = errors.getvalue() or printed.getvalue()
        return row(f"exit {0 if ended.code is None else ended.code}", argument, text)
    except Exception as error:
        return row(f"raw {type(error).__name__}", argument, str(error))
    return "accepted"


def row(how: str, argument: str, text: str) -> str:
    """Return a row: result, whether argument and remedy are named, and first line."""
    text = re.sub(r"[─│╭╮╰╯]+", " ", text).replace(str(Path.cwd()), "HERE")
    text = re.sub(r" at 0x[0-9a-f]+|[0-9a-f]{32}", "", text.replace(str(commits.ROOT), "ROOT"))
    named = any(name in text for name in _spellings(argument))
    names_argument = ("names" if named else "does not name", argument)
    remedy = "remedy" if REMEDY.search(text) else "no remedy"
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if "Parsing error" not in line), "")
    more = f" (and {len(lines) - 1} more lines)" if len(lines) > 1 and "exit" not in how else ""
    return f"{how}; {' '.join(names_argument)}; {remedy}; {first[:160]}{more}"


def _spellings(argument):
    rows = [r for r in (*names.KEYWORDS, *names.DECLARED, *names.FLAGS) if argument in r]
    known = {argument, *(name for r in rows for name in r)}
    return known | {name.replace("_", "-") for name in known}


def summary(rows: Mapping[str, str]) -> str:
    """Return a line with the number of rows of each kind."""
    ends = collections.Counter(
        "raw" if row.startswith("raw ") else row.split(";")[0] for row in rows.values()
    )
    counts = [f"{count} {how}" for how, count in ends.most_common()]
    refused = [row for row in rows.values() if row != "accepted"]
    unnamed = sum("; does not name " in row for row in refused)
    without = sum("; no remedy; " in row for row in refused)
    return (
        f"{len(rows)} cases: {', '.join(counts)}; of the errors, {unnamed} do not name the "
        f"argument and {without} have no remedy"
    )


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    commits.main(__doc__ or "", __file__, table, summary)
