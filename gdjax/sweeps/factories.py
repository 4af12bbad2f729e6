"""What a record may name: optimisers and problems that can be made again from it, written out.

    optimizer -> {"name": "optax.sgd", "keywords": {"momentum": 0.9}} -> optimizer

A record comes with a store, and a store may come from anybody. Nothing that it says is imported or
looked up in a module: names are compared with those below, arguments with what each may be. For
everything else the caller hands in the object.

>>> import optax
>>> described = describe(partial(optax.sgd, momentum=0.9))
>>> described
{'name': 'optax.sgd', 'keywords': {'momentum': 0.9}}
>>> optimizer_from(described, "here").func is optax.sgd
True
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, fields
from functools import partial
from types import MappingProxyType
from typing import Any

import optax
from optax import contrib

from gdjax.arguments import is_whole
from gdjax.data import sets
from gdjax.descent.schedules import WarmupCosine, warmup_cosine
from gdjax.errors import GdjaxError, InputError, StoreError
from gdjax.problems.bowl import bowl
from gdjax.problems.costs import COSTS
from gdjax.problems.decayed import few_digits
from gdjax.problems.digits import digits
from gdjax.problems.distorted import Distortion
from gdjax.problems.functions import FUNCTIONS, function
from gdjax.problems.networks import ACTIVATIONS, INITIALIZERS
from gdjax.problems.problem import Problem
from gdjax.stores.schema import plain
from gdjax.sweeps.binding import factory_arguments

OPTIMIZERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "optax.adabelief": optax.adabelief,
        "optax.adadelta": optax.adadelta,
        "optax.adafactor": optax.adafactor,
        "optax.adagrad": optax.adagrad,
        "optax.adam": optax.adam,
        "optax.adamax": optax.adamax,
        "optax.adamaxw": optax.adamaxw,
        "optax.adamw": optax.adamw,
        "optax.adan": optax.adan,
        "optax.amsgrad": optax.amsgrad,
        "optax.fromage": optax.fromage,
        "optax.lamb": optax.lamb,
        "optax.lars": optax.lars,
        "optax.lbfgs": optax.lbfgs,
        "optax.lion": optax.lion,
        "optax.nadam": optax.nadam,
        "optax.nadamw": optax.nadamw,
        "optax.noisy_sgd": optax.noisy_sgd,
        "optax.novograd": optax.novograd,
        "optax.optimistic_adam_v2": optax.optimistic_adam_v2,
        "optax.optimistic_gradient_descent": optax.optimistic_gradient_descent,
        "optax.polyak_sgd": optax.polyak_sgd,
        "optax.radam": optax.radam,
        "optax.rmsprop": optax.rmsprop,
        "optax.rprop": optax.rprop,
        "optax.sgd": optax.sgd,
        "optax.sign_sgd": optax.sign_sgd,
        "optax.signum": optax.signum,
        "optax.sm3": optax.sm3,
        "optax.yogi": optax.yogi,
        "optax.contrib.acprop": contrib.acprop,
        "optax.contrib.ademamix": contrib.ademamix,
        "optax.contrib.adopt": contrib.adopt,
        "optax.contrib.cocob": contrib.cocob,
        "optax.contrib.dadapt_adamw": contrib.dadapt_adamw,
        "optax.contrib.dog": contrib.dog,
        "optax.contrib.dowg": contrib.dowg,
        "optax.contrib.madgrad": contrib.madgrad,
        "optax.contrib.momo": contrib.momo,
        "optax.contrib.momo_adam": contrib.momo_adam,
        "optax.contrib.muon": contrib.muon,
        "optax.contrib.prodigy": contrib.prodigy,
        "optax.contrib.schedule_free_adamw": contrib.schedule_free_adamw,
        "optax.contrib.schedule_free_sgd": contrib.schedule_free_sgd,
        "optax.contrib.simplified_ademamix": contrib.simplified_ademamix,
        "optax.contrib.sophia": contrib.sophia,
    }
)
"""Optimizer factories that a record may name."""

TYPES = ("float16", "bfloat16", "float32", "float64")
"""Text that a factory's argument may be: the type in which an optimiser keeps its memory."""


SCHEDULES: Mapping[str, Callable[..., WarmupCosine]] = MappingProxyType(
    {"gdjax.warmup_cosine": warmup_cosine}
)
"""Schedules that an argument of a factory may be, all made of numbers."""


def describe(optimizer: Callable) -> dict[str, Any]:
    """A factory as its name and the keywords that `functools.partial` fixed.

    Raises:
        InputError: positional arguments were fixed, which have no names.
    """
    fixed: dict[str, Any] = {}
    # Some of the table's are partial themselves, such as nadam.
    while isinstance(optimizer, partial) and _name(optimizer) is None:
        if optimizer.args:
            raise InputError(
                "optimizer: functools.partial with positional arguments cannot be recorded; give "
                "them by keyword"
            )
        fixed = {**optimizer.keywords, **fixed}
        optimizer = optimizer.func
    name = _name(optimizer)
    if name is None:  # a user's own, named for the reader
        module = getattr(optimizer, "__module__", "")
        name = f"{module}.{getattr(optimizer, '__qualname__', type(optimizer).__qualname__)}"
    return {"name": name, "keywords": {k: _described(v) for k, v in fixed.items()}}


def _name(optimizer):
    """What a factory is called in `OPTIMIZERS`; None where it is not there."""
    return next((name for name, factory in OPTIMIZERS.items() if factory is optimizer), None)


def _described(value):
    """A number or text as it is; what JSON lacks as text in a mapping, not to be made again."""
    if value is None or isinstance(value, int | float | str | bool):
        return value
    if isinstance(value, WarmupCosine) and all(isinstance(n, int | float) for n in astuple(value)):
        return {"name": "gdjax.warmup_cosine", "keywords": asdict(value)}
    # Addresses differ from process to process. What a function does is in the program's hash.
    return {"text": re.sub(r" at 0x[0-9a-f]+", "", repr(value))}


def optimizer_from(described: Any, where: Any) -> Callable:
    """The factory that `describe` described.

    Args:
        described: from a record; anything.
        where: whose record it is, for messages.

    Raises:
        StoreError: it is none of `OPTIMIZERS`, or has arguments that those have not.
    """
    name, keywords = (
        (described.get("name"), described.get("keywords", {}))
        if isinstance(described, Mapping)
        else (described, {})
    )
    remedy = "give the one that was used: make_optimizer=..."
    if not isinstance(name, str) or name not in OPTIMIZERS or not isinstance(keywords, Mapping):
        raise StoreError(
            f"{where}: its optimizer {name!r:.120} is none that a record may name; {remedy}"
        )
    factory = OPTIMIZERS[name]
    known = factory_arguments(factory)
    fixed = {}
    for keyword, value in keywords.items():
        if keyword in known and (schedule := _schedule(value)) is not None:
            fixed[keyword] = schedule
            continue
        if isinstance(value, Mapping) and keyword in known:
            raise StoreError(
                f"{where}: its optimizer {name} was made with {keyword} = "
                f"{value.get('text')!r:.80}, which a record cannot hold; {remedy}"
            )
        if keyword not in known or not (_number(value) or value is None or value in TYPES):
            raise StoreError(
                f"{where}: its optimizer {name} has the argument {keyword!r:.80} = {value!r:.80}, "
                f"which it does not take; {remedy}"
            )
        fixed[keyword] = _read(value)
    return partial(factory, **fixed) if fixed else factory


def _schedule(described: Any) -> WarmupCosine | None:
    """A schedule of `SCHEDULES` from its record; None where it is none."""
    if not isinstance(described, Mapping) or set(described) != {"name", "keywords"}:
        return None
    name, keywords = described["name"], described["keywords"]
    named = isinstance(name, str) and name in SCHEDULES and isinstance(keywords, Mapping)
    if not named or not all(_finite(value) for value in keywords.values()):
        return None
    try:
        return SCHEDULES[name](**keywords)
    except (InputError, TypeError):
        return None


def _count(value: Any) -> bool:
    """Whether a value of a record is a number of things."""
    return is_whole(value, 0, 2**31 - 1)


def _number(value: Any) -> bool:
    """Whether a value of a record is a number or a truth value; JSON has infinities as text."""
    return isinstance(value, bool | int | float) or value in ("inf", "-inf", "nan")


def _read(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _number(value) else value


def _numbers(value: Any) -> bool:
    """Whether it is a list of finite numbers, or of such lists."""
    return isinstance(value, list) and all(
        _numbers(entry) if isinstance(entry, list) else _finite(entry) for entry in value
    )


def _finite(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= 1e300 and math.isfinite(value)


def _widths(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 100 and all(map(_count, value))


def _one_of(names: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _at_hand(name: Any) -> bool:
    """Whether a data set can be had without network; its name is compared, never used."""
    return any(known.prepared and known.name == name for known in sets.available())


def _distortion(value: Any) -> bool:
    """Whether it is a `Distortion`, field by field."""
    if not isinstance(value, Mapping) or set(value) != {f.name for f in fields(Distortion)}:
        return False
    counted = all(isinstance(value[n], int) and _finite(value[n]) for n in ("copies", "seed"))
    return counted and _finite(value["shift"]) and _finite(value["turn"])


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


PROBLEMS: Mapping[str, tuple[Callable[..., Problem], Mapping[str, Callable[[Any], bool]]]] = (
    MappingProxyType(
        {
            "bowl": (bowl, {"eigenvalues": _numbers, "minimum": _numbers}),
            "digits": (
                digits,
                {
                    "name": _at_hand,
                    "widths": _widths,
                    "activation": _one_of(ACTIVATIONS),
                    "initializer": _one_of(INITIALIZERS),
                    "cost": _one_of(COSTS),
                    "samples": _optional(_count),
                    "distortion": _distortion,
                },
            ),
            "few_digits": (
                few_digits,
                {
                    "name": _at_hand,
                    "samples": _count,
                    "first": _count,
                    "widths": _widths,
                    "decay": _finite,
                },
            ),
            "function": (function, {"name": _one_of(FUNCTIONS), "domain": _numbers}),
        }
    )
)
"""Problems that a record may name, with what each argument may be."""


def problem_from(described: Any, where: Any) -> Problem:
    """A problem of gdjax from its provenance, with the same data.

    Args:
        described: from a record; anything.
        where: whose record it is, for messages.

    Raises:
        StoreError: it is a user's own, none of `PROBLEMS`, has arguments that those have not, or
            its data are not at hand or not those that were used.
    """
    remedy = "give the one that was used: problem=..., or --problem FILE.py:NAME of a command"
    if described is None or described == "user's own":
        raise StoreError(f"{where}: is of a user's own problem; {remedy}")
    kind = described.get("problem") if isinstance(described, Mapping) else described
    if not isinstance(kind, str) or kind not in PROBLEMS:
        raise StoreError(
            f"{where}: its problem {kind!r:.80} is none that a record may name; {remedy}"
        )
    make, allowed = PROBLEMS[kind]
    given = {k: v for k, v in described.items() if k not in ("problem", "hash")}
    for name, value in given.items():
        if name in allowed and allowed[name] is _at_hand and not _at_hand(value):
            raise StoreError(
                f"{where}: its problem has the data set {value!r:.80}, which is not at hand, and "
                f"nothing is downloaded because a record says so; prepare it (gdjax data prepare), "
                f"or {remedy}"
            )
        if name not in allowed or not allowed[name](value):
            raise StoreError(
                f"{where}: its problem {kind} has the argument {name!r:.80} = {value!r:.80}, which "
                f"it does not take; {remedy}"
            )
    try:
        problem = make(**given)
    except (GdjaxError, TypeError) as error:
        raise StoreError(
            f"{where}: its problem {kind} cannot be made again ({error}); {remedy}"
        ) from error
    here = plain(problem.provenance)
    for name, value in here.items():
        if described.get(name, value) != value or name not in described:
            raise StoreError(
                f"{where}: its problem {kind} had {name} = {described.get(name)!r:.80}, and made "
                f"again it has {value!r:.80}"
                + ("; the data set has changed" if name == "hash" else "")
                + f"; {remedy}"
            )
    return problem
