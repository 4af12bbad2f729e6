"""Binding of axes to keywords of `init`, the cost and the optimizer factory.

    axis "momentum" -> make_optimizer(momentum=...),   axis "cost.scale" -> cost(..., scale=...)

>>> import optax
>>> from gdjax.sweeps.axes import axes
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w, *, a=1.0: a * jnp.sum(w**2))
>>> grid = axes(learning_rate=[0.1], a=[1.0, 2.0], seed=range(3))
>>> by_role(assign_roles(bowl, grid, optax.sgd), {"learning_rate": 0.1, "a": 2.0, "seed": 1})
{'init': {}, 'cost': {'a': 2.0}, 'optimizer': {'learning_rate': 0.1}}
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from gdjax.base.arguments import meant_keyword
from gdjax.base.errors import InputError
from gdjax.problems.keywords import bind, declared
from gdjax.problems.problem import Problem, map_functions
from gdjax.problems.trace import Trace
from gdjax.sweeps.axes import (
    BATCH_SIZE,
    BRANCH_STEP,
    MEASURED_POINT,
    MEASURED_STEP,
    PERTURBATION,
    SEEDS,
    Axes,
)

ROLES = ("init", "cost", "optimizer")

Value = TypeVar("Value")


class Role(NamedTuple):
    """Target of an axis: keyword of a function, seed, batch size or branch setting.

    Args:
        kind: one of `ROLES`, "seed", "batch", "branch" or "measured".
        keyword: keyword that the axis sets.
        is_static: whether one program is compiled for each value, instead of one program that takes
            the value as an input.
    """

    kind: str
    keyword: str
    is_static: bool = False


def assign_roles(
    problem: Problem, grid: Axes, make_optimizer: Callable | None = None
) -> dict[str, Role]:
    """Return the role of each axis: the keyword or setting that it sets.

    Without `make_optimizer`, as in a store, the optimizer has all keywords that the problem lacks.
    """
    taken = {
        "init": tuple(declared(problem.init)),
        "cost": tuple(declared(problem.cost)),
        "optimizer": () if make_optimizer is None else tuple(factory_arguments(make_optimizer)),
    }
    settings = [*SEEDS, BATCH_SIZE] if BRANCH_STEP in grid.names else [*SEEDS[:-1], BATCH_SIZE]
    valid = [*settings, *(name for names in taken.values() for name in names)]
    assigned: dict[str, Role] = {}
    static = grid.static
    for axis in grid.names:
        role, _, keyword = axis.rpartition(".")
        homes = [r for r in ROLES if keyword in taken[r] and role in ("", r)]
        if make_optimizer is None and not homes and role in ("", "optimizer"):
            homes = ["optimizer"]
        if axis in SEEDS:
            assigned[axis] = Role("seed", axis)
        elif axis == BATCH_SIZE:
            assigned[axis] = Role("batch", axis, is_static=True)
        elif axis in (MEASURED_STEP, MEASURED_POINT):
            assigned[axis] = Role("measured", axis)
        elif axis in (BRANCH_STEP, PERTURBATION):
            assigned[axis] = Role("branch", axis, axis in static)
        elif len(homes) > 1:
            choices = " or ".join(f"{home}.{keyword}" for home in homes)
            raise InputError(
                f"axes: {axis} is a keyword of {' and of '.join(homes)}; qualify it: {choices}"
            )
        elif not homes:
            hint = meant_keyword(axis, valid)
            if keyword in (lacking := _without_default(problem)):
                name = lacking[keyword]
                hint = f" {name} takes {keyword} without a default; give it one: {keyword}=1.0"
            raise InputError(
                f"axes: unexpected axis {axis!r}; expected one of "
                f"{', '.join(dict.fromkeys(valid))}.{hint}"
            )
        elif any((homes[0], keyword) == other[:2] for other in assigned.values()):
            raise InputError(f"axes: {axis} is given twice, also as {keyword}; keep one")
        else:
            assigned[axis] = Role(homes[0], keyword, axis in static)
    return assigned


def _without_default(problem):
    """Return the names of further positional arguments of `init` and the cost, by argument."""
    names = {}
    for role, first in (("init", 1), ("cost", 1 if problem.data is None else 2)):
        parameters = [*inspect.signature(getattr(problem, role)).parameters.values()][first:]
        names |= {p.name: role for p in parameters if p.default is p.empty}
    return names


def by_role(
    assigned: Mapping[str, Role], values: Mapping[str, Value]
) -> dict[str, dict[str, Value]]:
    """Return values by role and keyword, for axes that set keywords of functions."""
    settings: dict[str, dict[str, Value]] = {role: {} for role in ROLES}
    for axis, value in values.items():
        role, keyword, _ = assigned[axis]
        if role in settings:
            settings[role][keyword] = value
    return settings


def numeric_roles(assigned: Mapping[str, Role]) -> dict[str, Role]:
    """Return the roles of the axes whose values are inputs of the program."""
    return {axis: role for axis, role in assigned.items() if not role.is_static}


def factory_arguments(make_optimizer: Callable) -> dict[str, inspect.Parameter]:
    """Return the arguments that an optimizer factory accepts by name."""
    try:
        parameters = inspect.signature(make_optimizer).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"make_optimizer = {make_optimizer!r:.30}, expected a function that returns an "
            f"optimizer, such as optax.sgd or functools.partial(optax.sgd, momentum=0.9), and not "
            f"optax.sgd(0.1); it is called with the values of the axes"
        ) from error
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters if p.kind in by_name}


def check_factory_arguments(make_optimizer: Callable, assigned: Mapping[str, Role]) -> None:
    """Check that all arguments of an optimizer factory have values."""
    swept = {role.keyword for role in assigned.values() if role.kind == "optimizer"}
    missing = [
        name
        for name, parameter in factory_arguments(make_optimizer).items()
        if parameter.default is parameter.empty and name not in swept
    ]
    if missing:
        raise InputError(
            f"make_optimizer: {', '.join(missing)} has no value; add an axis of that name, or fix "
            f"it with functools.partial(..., {missing[0]}=0.1)"
        )


def with_settings(
    problem: Problem,
    cost: Mapping[str, Any] = MappingProxyType({}),
    init: Mapping[str, Any] = MappingProxyType({}),
    **_: Any,
) -> Problem:
    """Return a problem with some keywords fixed, such as a temperature.

    Values for the cost are passed to the evaluation and the `predict` that declare them, too.
    """
    if not cost and not init:
        return problem
    return map_functions(
        problem, lambda name, function: bind(function, init if name == "init" else cost)
    )


def check_effects(traces: Mapping[str, Trace], assigned: Mapping[str, Role], factory: str) -> None:
    """Check that every axis has an effect; otherwise, runs along it would be equal."""
    others = [traced for name, traced in traces.items() if name not in ROLES]
    measured = {keyword for each in others for keyword in {*each.keywords} - each.unused}
    names = {"init": "init", "cost": "the cost", "optimizer": factory}
    for axis, role in numeric_roles(assigned).items():
        idle = role.kind in ROLES and role.keyword in traces[role.kind].unused
        if idle and not measured & {role.keyword, f"{role.kind}.{role.keyword}"}:
            raise without_effect(axis, names[role.kind])


def without_effect(axis: str, where: str) -> InputError:
    """Return the error of an axis along which all runs would be equal."""
    return InputError(
        f"axes: {axis} has no effect on the result of {where}; leave it out, or pass the "
        f"setting that it modifies (nesterov requires momentum)"
    )
