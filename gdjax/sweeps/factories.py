"""Optimizers and problems that can be built from the record of a sweep.

    optimizer -> {"name": "optax.sgd", "keywords": {"momentum": 0.9}} -> optimizer

Records are part of a store, and stores are untrusted input. No text of a record is imported or
looked up in a module. Names must be listed in this module, and each argument must have an allowed
value. Other objects must be passed by the caller.

>>> import optax
>>> described = describe(partial(optax.sgd, momentum=0.9))
>>> described
{'name': 'optax.sgd', 'keywords': {'momentum': 0.9}}
>>> optimizer_from(described, "here").func is optax.sgd
True
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from gdjax.base import internals
from gdjax.base.documents import plain
from gdjax.base.errors import GdjaxError, InputError, StoreError
from gdjax.base.limits import Real, Whole, is_valid
from gdjax.data import sets
from gdjax.descent.schedules import WarmupCosine
from gdjax.problems.bowl import bowl
from gdjax.problems.digits import digits
from gdjax.problems.losses import LOSSES
from gdjax.problems.networks import ACTIVATIONS, INITIALIZERS
from gdjax.problems.problem import Problem
from gdjax.problems.test_functions import FUNCTIONS, from_function
from gdjax.problems.weight_decay import few_digits
from gdjax.sweeps.binding import factory_arguments

OPTIMIZERS: Mapping[str, Callable[..., Any]] = MappingProxyType(internals.optimizers())
"""Optimizer factories that a record may name."""

# Strings that are allowed as arguments of a factory: numbers, and types of optimizer state.
_Infinite = Literal["inf", "-inf", "nan"]
_Type = Literal["float16", "bfloat16", "float32", "float64"]
_Scalar = bool | int | float | _Infinite | _Type | None

SCHEDULE = "gdjax.warmup_cosine"
"""Name of the only schedule that is allowed as an argument of a factory."""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """Record of a factory."""

    name: str
    keywords: dict[str, Any]


class _Schedule(msgspec.Struct, forbid_unknown_fields=True):
    name: Literal["gdjax.warmup_cosine"]
    keywords: dict[str, Real]


class _Distortion(msgspec.Struct, forbid_unknown_fields=True):
    copies: int
    shift: Real
    max_rotation: Real
    seed: int


def describe(optimizer: Callable) -> dict[str, Any]:
    """Return the name of a factory and the keywords fixed by `functools.partial`."""
    fixed: dict[str, Any] = {}
    # Some listed factories, such as nadam, are themselves partial functions.
    while isinstance(optimizer, partial) and _name(optimizer) is None:
        if optimizer.args:
            raise InputError(
                "optimizer: functools.partial with positional arguments cannot be recorded; pass "
                "them by keyword"
            )
        fixed = {**optimizer.keywords, **fixed}
        optimizer = optimizer.func
    name = _name(optimizer)
    if name is None:  # a user-defined factory; the name is informative only
        name = qualified_name(optimizer)
    return {"name": name, "keywords": {k: _described(v) for k, v in fixed.items()}}


def qualified_name(function: Callable) -> str:
    """Return the module and the name of a function, or of the type of another callable."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def _name(optimizer):
    """Return the name of a factory in `OPTIMIZERS`; None if it is not listed."""
    return next((name for name, factory in OPTIMIZERS.items() if factory is optimizer), None)


def _described(value):
    """Return an argument as JSON, or `{"text": ...}` if it cannot be rebuilt."""
    if value is None or isinstance(value, int | float | str | bool):
        return value
    if isinstance(value, WarmupCosine) and all(isinstance(n, int | float) for n in astuple(value)):
        return {"name": SCHEDULE, "keywords": asdict(value)}
    # Memory addresses are removed, since they differ between processes. The program hash covers the
    # computation of a function.
    return {"text": re.sub(r" at 0x[0-9a-f]+", "", repr(value))}


def optimizer_from(described: Mapping[str, Any], where: Any) -> Callable:
    """Return the factory for a description made by `describe`."""
    name, remedy = described["name"], "pass the original one: make_optimizer=..."
    if name not in OPTIMIZERS:
        raise StoreError(
            f"{where}: its optimizer {name!r:.120} cannot be rebuilt from a record; {remedy}"
        )
    factory = OPTIMIZERS[name]
    known = factory_arguments(factory)
    fixed = {}
    for keyword, value in described["keywords"].items():
        if keyword in known and (schedule := _schedule(value)) is not None:
            fixed[keyword] = schedule
            continue
        if isinstance(value, Mapping) and keyword in known:
            raise StoreError(
                f"{where}: its optimizer {name} has the argument {keyword} = "
                f"{value.get('text')!r:.80}, which cannot be recorded; {remedy}"
            )
        if keyword not in known or not is_valid(value, _Scalar):
            raise StoreError(
                f"{where}: its optimizer {name} has the argument {keyword!r:.80} = {value!r:.80}, "
                f"which is not allowed in a record; {remedy}"
            )
        fixed[keyword] = float(value) if value in get_args(_Infinite) else value
    return partial(factory, **fixed) if fixed else factory


def _schedule(described: Any) -> WarmupCosine | None:
    """Return the schedule described by a record; None if it is not a schedule."""
    if is_valid(described, _Schedule):
        with contextlib.suppress(InputError, TypeError):
            return WarmupCosine(**described["keywords"])
    return None


def _is_prepared(name: Any) -> bool:
    """Return whether a prepared data set has this name, which is not used as a path."""
    return any(known.prepared and known.name == name for known in sets.available())


def _one_of(names: Iterable[str]) -> Any:
    return Literal.__getitem__(tuple(names))


_Set = Annotated[str, Meta(title="prepared data set")]
_Widths = Annotated[list[Whole], Meta(max_length=100)]
PROBLEMS: Mapping[str, tuple[Callable[..., Problem], Mapping[str, Any]]] = MappingProxyType(
    {
        "bowl": (bowl, {"eigenvalues": list[Real], "minimum": list[Real]}),
        "digits": (
            digits,
            {
                "name": _Set,
                "widths": _Widths,
                "activation": _one_of(ACTIVATIONS),
                "initializer": _one_of(INITIALIZERS),
                "cost": _one_of(LOSSES),
                "samples": Whole | None,
                "distortion": _Distortion | None,
            },
        ),
        "few_digits": (
            few_digits,
            {"name": _Set, "samples": Whole, "first": Whole, "widths": _Widths, "decay": Real},
        ),
        "from_function": (
            from_function,
            {"name": _one_of(FUNCTIONS), "domain": list[Real | list[Real]]},
        ),
    }
)
"""Problems that a record may name, with the type of each argument."""


def problem_from(described: Any, where: Any) -> Problem:
    """Return a built-in problem from its provenance, with the same data."""
    remedy = "pass the original one: problem=..., or --problem FILE.py:NAME of a command"
    if described is None or described == "user's own":
        raise StoreError(f"{where}: its problem is user-defined; {remedy}")
    kind = described.get("problem") if isinstance(described, Mapping) else None
    if not isinstance(kind, str) or kind not in PROBLEMS:
        raise StoreError(
            f"{where}: its problem {described!r:.80} cannot be rebuilt from a record; {remedy}"
        )
    make, allowed = PROBLEMS[kind]
    arguments = {k: v for k, v in described.items() if k not in ("problem", "hash")}
    for name, value in arguments.items():
        if allowed.get(name) is _Set and not _is_prepared(value):
            raise StoreError(
                f"{where}: its problem has the data set {value!r:.80}, which is not prepared on "
                f"this machine, and reading a store never starts a download; prepare it (gdjax "
                f"data prepare), or {remedy}"
            )
        if name not in allowed or not is_valid(value, allowed[name]):
            raise StoreError(
                f"{where}: its problem {kind} has the argument {name!r:.80} = {value!r:.80}, which "
                f"is not allowed in a record; {remedy}"
            )
    if "cost" in arguments:  # the recorded name of the loss
        arguments["loss"] = arguments.pop("cost")
    try:
        problem = make(**arguments)
    except (GdjaxError, TypeError) as error:
        raise StoreError(
            f"{where}: its problem {kind} cannot be built from its record ({error}); {remedy}"
        ) from error
    for name, value in plain(problem.provenance).items():
        if described.get(name, value) != value or name not in described:
            raise StoreError(
                f"{where}: its problem {kind} had {name} = {described.get(name)!r:.80}, but the "
                f"rebuilt problem has {value!r:.80}"
                + ("; the data set has changed" if name == "hash" else "")
                + f"; {remedy}"
            )
    return problem
