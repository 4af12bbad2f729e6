"""User-defined problems, loaded from a Python file.

    --problem my_file.py:problem      the Problem of that name, or a function that returns one

The file is executed, so its path is taken only from the command line, never from a store.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax.base.errors import InputError, explained

FORM = "FILE.py:NAME"


def check_file(text: str) -> None:
    """Check the form of `--problem`, and that its file exists."""
    file, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier() or Path(file).suffix != ".py":
        raise InputError(f"--problem {text}: expected {FORM}, such as my_file.py:problem")
    if not Path(file).is_file():
        raise InputError(f"--problem {text}: no such file: {file}; check the path")


ProblemOption = Annotated[str | None, tyro.conf.arg(metavar=FORM), check_file]


def load_problem(text: str | None) -> Any:
    """Return the Problem that `--problem` names, or None if the flag is not given."""
    if text is None:
        return None
    from gdjax.problems import Problem

    check_file(text)
    file, _, name = text.rpartition(":")
    path = Path(file).resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None  # since the suffix is .py
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # as `import` does; dataclasses require this
    sys.path.insert(0, str(path.parent))  # so that the file can import modules from its folder
    try:
        with explained(
            f"--problem {text}: {file} failed",
            f"run `python {file}` to see the traceback",
            unchanged=(),
        ):
            spec.loader.exec_module(module)
            if not hasattr(module, name):
                names = [n for n, v in vars(module).items() if isinstance(v, Problem)]
                raise InputError(
                    f"--problem {text}: {file} does not define {name}; pass a name that it defines"
                    f"{', such as ' + names[0] if names else ''}"
                )
            problem = getattr(module, name)
            if callable(problem) and not isinstance(problem, Problem):
                problem = problem()
    except SystemExit as end:
        raise InputError(
            f"--problem {text}: {file} calls sys.exit({end.code!r}), expected a file that only "
            f'defines {name}; put its other statements below `if __name__ == "__main__":`'
        ) from None
    if not isinstance(problem, Problem):
        raise InputError(
            f"--problem {text}: {name} is of type {type(problem).__name__}, expected a "
            f"gdjax.Problem or a function without arguments that returns one"
        )
    return problem
