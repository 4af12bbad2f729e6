"""A user's own problem for the commands: a name in a file of Python that the command line gives.

    --problem my_file.py:problem      the Problem of that name, or a function that makes one

The file is run. So it is only ever taken from the command line, never from a store's record.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax.errors import InputError

FORM = "FILE.py:NAME"
Given = Annotated[str | None, tyro.conf.arg(metavar=FORM)]


def check(text: str | None) -> None:
    """Make sure that `--problem` names a file that is there, before JAX is imported.

    Raises:
        InputError: it does not.
    """
    if text is None:
        return
    file, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier() or Path(file).suffix != ".py":
        raise InputError(f"--problem {text}: expected {FORM}, such as my_file.py:problem")
    if not Path(file).is_file():
        raise InputError(f"--problem {text}: there is no file {file}")


def load(text: str | None) -> Any:
    """The Problem that `--problem` names; None where it is not given.

    Raises:
        InputError: the file has no such name, it is no Problem and makes none, or the file ends
            the process (`sys.exit`). Other exceptions of the file propagate.
    """
    if text is None:
        return None
    from gdjax.problems import Problem

    check(text)
    file, _, name = text.rpartition(":")
    path = Path(file).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None  # its name ends with .py
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # as an import would: dataclasses look there
    sys.path.insert(0, str(path.parent))  # what lies beside it can be imported
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            raise InputError(f"--problem {text}: {file} has nothing of the name {name}")
        found = getattr(module, name)
        found = found() if callable(found) and not isinstance(found, Problem) else found
    except SystemExit as end:
        raise InputError(
            f"--problem {text}: {file} calls sys.exit({end.code!r}), expected a file that only "
            f'defines {name}; put what else it does below `if __name__ == "__main__":`'
        ) from None
    if not isinstance(found, Problem):
        raise InputError(
            f"--problem {text}: {name} is of type {type(found).__name__}, expected a gdjax.Problem "
            f"or a function without arguments that makes one"
        )
    return found
