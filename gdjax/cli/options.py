"""Options that several commands share, and limits of options, checked before JAX is imported."""

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro
from msgspec import Meta

from gdjax.base.errors import InputError, StoreError
from gdjax.base.limits import Count
from gdjax.cli.grid import TRUTH, number
from gdjax.cli.problem_file import ProblemOption, load_problem

MOMENTUM = 0.9


def check_options(command: Any) -> None:
    """Check the options of a command by their types: by limits of numbers, and by functions.

    Mistakes that need no JAX are found before a command imports it.
    """
    from gdjax.base.arguments import check_limits  # imports NumPy

    for name, hint in get_type_hints(type(command), include_extras=True).items():
        value, flag = getattr(command, name), f"--{name.replace('_', '-')}"
        if is_dataclass(value):
            check_options(value)
        for kind in _annotated(hint):
            checks = [mark for mark in kind.__metadata__ if isinstance(mark, FunctionType)]
            for entry in value if isinstance(value, tuple) else (value,):
                if isinstance(kind.__metadata__[0], Meta) and isinstance(entry, int | float):
                    check_limits(flag, entry, kind)
                for check in checks if entry is not None else ():
                    check(entry)


def _annotated(hint: Any) -> Iterator[Any]:
    """Yield the annotated types in a type, such as `Count` in `Count | None`."""
    if hasattr(hint, "__metadata__"):
        yield hint
    for part in get_args(hint):
        yield from _annotated(part)


def check_store(store: str) -> None:
    """Check that the folder of a store exists; that of a URL is not looked up."""
    from gdjax.stores.schema import OWN, ROOT  # imports NumPy

    check_new_store(store)
    path = Path(store)
    if "://" in store or any(path.joinpath(name).exists() for name in (ROOT, OWN)):
        return
    if path.exists() and any(path.iterdir()):
        raise StoreError(f"{store} exists but is not a gdjax store; choose another path")
    raise StoreError(f"{store}: there is no store at this path; check the path")


def check_new_store(store: str) -> None:
    """Check that the path of a store, which need not exist, is not that of a file."""
    from gdjax.stores.location import check_no_file  # imports NumPy

    if "://" not in store:
        check_no_file(store)


def check_data(name: str) -> None:
    """Check that an image set is known."""
    from gdjax.data.preparation import check_known

    check_known(name)


StoreOption = Annotated[str | None, check_store]
DataOption = Annotated[str, check_data]

Optimizer = Literal[
    "sgd", "momentum", "nesterov", "rmsprop", "adagrad", "adam", "adamw", "nadam", "lion", "muon"
]


@dataclass(frozen=True)
class NetworkOptions:
    """Network that classifies digits, and its optimizer."""

    data: DataOption = "mnist5k"
    """Data set: mnist5k (bundled), mnist, fashion_mnist, kmnist, or another data set prepared with
    `gdjax data prepare`."""
    widths: tuple[Count, ...] = (16, 16)
    """Number of neurons in each hidden layer."""
    activation: Literal["sigmoid", "tanh", "relu", "softplus", "identity", "step"] = "sigmoid"
    """Activation of the neurons."""
    initializer: Literal["normal", "fan_in", "glorot", "he", "uniform"] = "fan_in"
    """Initializer of the weights."""
    optimizer: Optimizer = "sgd"
    """Update rule of Optax; momentum and nesterov are SGD with a momentum of 0.9 unless momentum is
    an axis of a sweep. The learning rates of recipes are chosen for sgd."""

    def network(self) -> dict[str, Any]:
        """Return the arguments of `digits` that define the network."""
        names = ("widths", "activation", "initializer")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class StoredRuns:
    """Runs in the store of a sweep."""

    store: StoreOption = None
    """Zarr store of a sweep."""
    at: Annotated[tuple[str, ...], tyro.conf.arg(metavar="AXIS=VALUE")] = ()
    """Runs of the store, by values of its axes, such as learning_rate=0.5 seed=3."""
    problem: ProblemOption = None
    """Problem of the sweep in the store, if it is user-defined."""
    skip_damaged: bool = False
    """Read the store without its damaged runs, instead of stopping with an error."""
    allow_unverified: bool = False
    """Go on if a version, a numeric flag or a function of the host cannot be compared."""

    def check_store(self) -> None:
        """Check that options of a store are given only with one, and their form."""
        parse_at(self.at)
        for name in ("at", "problem", "skip_damaged"):
            if self.store is None and getattr(self, name):
                flag = name.replace("_", "-")
                raise InputError(f"--{flag}: requires --store, the store of the sweep")

    def selection(self) -> dict[str, Any]:
        """Return the arguments with which the functions of gdjax read these runs."""
        return {
            "at": parse_at(self.at),
            "problem": load_problem(self.problem),
            "allow_unverified": self.allow_unverified,
            "skip_damaged": self.skip_damaged,
        }

    def flags(self) -> list[Any]:
        """Return the flags that differ from their defaults, for use in another command."""
        words: list[Any] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words.append("--" + field.name.replace("_", "-"))
                words += value if isinstance(value, tuple) else [value] * (value is not True)
        return words


def make_optimizer(name: str, axes: Any = ()) -> Any:
    """Return the Optax factory of an optimizer; momentum is fixed unless it is among the axes."""
    import optax

    if name == "muon":
        return optax.contrib.muon
    if name not in ("momentum", "nesterov"):
        return getattr(optax, name)
    fixed: dict[str, Any] = {"nesterov": True} if name == "nesterov" else {}
    if "momentum" not in axes:
        fixed["momentum"] = MOMENTUM
    return partial(optax.sgd, **fixed) if fixed else optax.sgd


def optimizer_keywords(name: str) -> list[str]:
    """Return the keywords of an optimizer, read from the source of Optax, whose import is slow.

    Returns:
        The keywords; none if this version of Optax defines the optimizer elsewhere.
    """
    spec = importlib.util.find_spec("optax")
    folder = Path(str(spec.origin if spec else "")).parent
    function = {"momentum": "sgd", "nesterov": "sgd", "nadam": "adam"}.get(name, name)
    for file in (folder / "_src" / "alias.py", folder / "contrib" / "_muon.py"):
        for node in ast.parse(file.read_text()).body if file.is_file() else ():
            if isinstance(node, ast.FunctionDef) and node.name == function:
                return [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
    return []


def parse_at(texts: tuple[str, ...]) -> dict[str, int | float | str]:
    """Parse axis values such as `seed=3` or `activation=tanh`.

    Examples:
        >>> parse_at(("learning_rate=0.5", "seed=3"))
        {'learning_rate': 0.5, 'seed': 3}
    """
    at: dict[str, int | float | str] = {}
    for text in texts:
        axis, equals, value = text.partition("=")
        if not equals or not axis or len(value.split()) != 1:
            raise InputError(f"--at {text}: expected AXIS=VALUE, such as seed=3")
        if axis == "lr":
            raise InputError(f"--at {text}: did you mean learning_rate={value}?")
        if axis in at:
            raise InputError(f"--at {text}: {axis} is given twice; keep one value of each axis")
        try:
            at[axis] = number(TRUTH.get(value, value))
        except ValueError:
            at[axis] = value
    return at


def format_value(value: Any, digits: int = 8) -> str:
    """Format a value of an axis as text: integers and names exactly."""
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(int(value) if isinstance(value, bool) else value)


def format_cost(cost: float) -> str:
    """Format a cost with four significant digits.

    Examples:
        >>> format_cost(0.5), format_cost(941018513408.0)
        ('0.5000', '9.410e+11')
    """
    return f"{cost:#.4g}".rstrip(".")


def resume_command(store: str | Path, problem: str | None) -> str:
    """Return the command that resumes the sweep of a store."""
    return f"gdjax resume {store}" + ("" if problem is None else f" --problem {problem}")
