"""Settings of the runs from which parameters come, such as their weight decay.

    params = params_of(runs, like, {"decay": 1e-5})
    analysis(problem, params)  =  analysis(problem.at(decay=1e-5), params)

Settings belong to arrays as objects, not to their values: arrays that are computed from these, or
a part of them, have no settings.
"""

import weakref
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import PyTree

from gdjax.problems.keywords import unbound
from gdjax.problems.problem import Problem

_settings: dict[int, tuple[weakref.ref, dict[str, Any]]] = {}


def remember(params: PyTree, settings: Mapping[str, Any]) -> None:
    """Record the settings of the cost of the runs that ended at some parameters."""
    for leaf in jax.tree.leaves(params):
        number = id(leaf)
        gone = weakref.ref(leaf, lambda _, number=number: _settings.pop(number, None))
        _settings[number] = gone, dict(settings)


def at_settings_of(problem: Problem, params: PyTree) -> Problem:
    """Return a problem at the settings of the runs that ended at some parameters."""
    records = [(leaf, _settings.get(id(leaf))) for leaf in jax.tree.leaves(params)]
    own = [record[1] for leaf, record in records if record is not None and record[0]() is leaf]
    if not own or any(settings != own[0] for settings in own):
        return problem
    return at_unbound(problem, own[0])


def at_unbound(problem: Problem, settings: Mapping[str, Any]) -> Problem:
    """Return a problem at those settings for which its cost has no value yet."""
    names = sorted(unbound(problem.cost).keys() & settings.keys())
    return problem.at(**{name: settings[name] for name in names}) if names else problem
