"""Keywords that a function declares, and values bound to them.

    cost(w, batch, *, key, scale=1.0)     scale is a setting, key is supplied by the descent

>>> def cost(w, batch, *, key, scale=1.0): return scale * w
>>> bind(cost, {"scale": 2.0, "activation": "tanh"}).keywords
{'scale': 2.0}
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from gdjax.base.arguments import check_callable

GIVEN = ("key", "step", "model_state")  # keywords of a cost that a descent supplies at each step
GIVEN_TO_METRICS = (*GIVEN, "opt_state", "settings")  # keywords that a measurement may declare


def declared(function: Callable) -> dict[str, Any]:
    """Return the settings of a function, which can be swept, with their defaults.

    Settings are the keyword-only arguments, and the other arguments that have a default. `key`,
    `step` and `model_state` are omitted, since a descent supplies them.

    Examples:
        >>> declared(lambda w, batch, *, key, scale=1.0: scale * w)
        {'scale': 1.0}
    """
    check_callable("function", function)
    return {
        p.name: p.default
        for p in _parameters(function)
        if p.name not in GIVEN
        and (
            p.kind is p.KEYWORD_ONLY
            or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty)
        )
    }


def given_to(function: Callable, names: tuple[str, ...] = GIVEN) -> tuple[str, ...]:
    """Return the declared keywords that a descent supplies and `partial` does not."""
    keywords = {p.name for p in _parameters(function) if p.kind is p.KEYWORD_ONLY}
    return tuple(name for name in names if name in keywords - _bound(function))


def unbound(function: Callable) -> dict[str, Any]:
    """Return the settings of a function that `bind` has given no value, with their defaults.

    Examples:
        >>> unbound(bind(lambda w, *, scale=1.0, shift=0.0: scale * w + shift, {"scale": 2.0}))
        {'shift': 0.0}
    """
    return {n: v for n, v in declared(function).items() if n not in _bound(function)}


def _bound(function):
    names: set[str] = set()
    function = inspect.unwrap(function)
    while isinstance(function, partial):
        names |= function.keywords.keys()
        function = function.func
    return names


def takes_any(function: Callable) -> bool:
    """Return whether a function accepts keywords that it does not name."""
    return any(p.kind is p.VAR_KEYWORD for p in _parameters(function))


def settings_of(function: Callable, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the subset of settings that a function declares."""
    names = declared(function)
    return {name: value for name, value in values.items() if name in names}


def bind(function: Callable, values: Mapping[str, Any]) -> Callable:
    """Bind values to the keywords that a function declares; ignore other values.

    Keywords that a descent supplies can also be bound.
    """
    names = {*declared(function), *given_to(function)}
    fixed = {name: value for name, value in values.items() if name in names}
    return partial(function, **fixed) if fixed else function


def declare(
    function: Any, positional: Sequence[str], supplied: Sequence[str], settings: Mapping[str, Any]
) -> Callable:
    """Set the signature of a function that forwards its keywords, and return the function."""
    parameter = inspect.Parameter
    first = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in positional]
    keywords = {**dict.fromkeys(supplied, parameter.empty), **settings}
    rest = [
        parameter(name, parameter.KEYWORD_ONLY, default=default)
        for name, default in keywords.items()
    ]
    function.__signature__ = inspect.Signature([*first, *rest])
    return function


def _parameters(function):
    try:
        return tuple(inspect.signature(function).parameters.values())
    except ValueError:  # some builtins have no signature
        return ()
