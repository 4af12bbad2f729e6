"""Which keyword an axis sets: of the starting point, of the cost, or of the optimizer factory.

    axis "momentum" -> optimizer(momentum=...),   axis "cost.scale" -> cost(..., scale=...)

>>> import optax
>>> from gdjax.sweeps.axes import axes
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w, *, a=1.0: a * jnp.sum(w**2))
>>> found = roles(bowl, axes(learning_rate=[0.1], a=[1.0, 2.0], seed=range(3)), optax.sgd)
>>> by_role(found, {"learning_rate": 0.1, "a": 2.0, "seed": 1})
{'init': {}, 'cost': {'a': 2.0}, 'optimizer': {'learning_rate': 0.1}}
"""

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from gdjax.descent.step import cost_type, update
from gdjax.errors import InputError
from gdjax.problems.keywords import bind, declared
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import BATCH_SIZE, BRANCH_STEP, PERTURBATION, SEEDS, Axes

ROLES = ("init", "cost", "optimizer")

Value = TypeVar("Value")


class Role(NamedTuple):
    """What an axis sets: a keyword of `init`, `cost` or the optimizer, a seed, a batch size.

    Args:
        role: one of `ROLES`, "seed", "batch" or "branch".
        keyword: of it.
        static: whether it decides how the program looks, and is no number that the program reads.
    """

    role: str
    keyword: str
    static: bool = False


def roles(problem: Problem, grid: Axes, optimizer: Callable | None = None) -> dict[str, Role]:
    """Which keyword each axis sets.

    Args:
        problem: what is minimised.
        grid: the axes.
        optimizer: factory; where it is not known (in a store's reader), what the problem does not
            take is the optimizer's.

    Raises:
        InputError: an axis that nothing takes (the message lists the valid names), one that two
            things take, two for the same keyword, or an optimizer that is no factory.
    """
    taken = {
        "init": tuple(declared(problem.init)),
        "cost": tuple(declared(problem.cost)),
        "optimizer": () if optimizer is None else tuple(arguments(optimizer)),
    }
    valid = [*SEEDS, BATCH_SIZE, *(name for names in taken.values() for name in names)]
    assigned: dict[str, Role] = {}
    static = grid.static
    for axis in grid.names:
        role, _, keyword = axis.rpartition(".")
        homes = [r for r in ROLES if keyword in taken[r] and role in ("", r)]
        if optimizer is None and not homes and role in ("", "optimizer"):
            homes = ["optimizer"]
        if axis in SEEDS:
            assigned[axis] = Role("seed", axis)
        elif axis == BATCH_SIZE:
            assigned[axis] = Role("batch", axis, static=True)
        elif axis in (BRANCH_STEP, PERTURBATION):
            assigned[axis] = Role("branch", axis, axis in static)
        elif len(homes) > 1:
            choices = " or ".join(f"{home}.{keyword}" for home in homes)
            raise InputError(
                f"axes: {axis} is a keyword of {' and of '.join(homes)}; say which: {choices}"
            )
        elif not homes:
            near = difflib.get_close_matches(axis, valid, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"axes: nothing takes {axis!r}; valid are {', '.join(dict.fromkeys(valid))}.{hint}"
            )
        elif any((homes[0], keyword) == given[:2] for given in assigned.values()):
            raise InputError(f"axes: {axis} is given twice, as {keyword} too; keep one")
        else:
            assigned[axis] = Role(homes[0], keyword, axis in static)
    return assigned


def by_role(
    assigned: Mapping[str, Role], values: Mapping[str, Value]
) -> dict[str, dict[str, Value]]:
    """Values of axes as keywords of what takes them; seeds are left out."""
    settings: dict[str, dict[str, Value]] = {role: {} for role in ROLES}
    for axis, value in values.items():
        role, keyword, _ = assigned[axis]
        if role in settings:
            settings[role][keyword] = value
    return settings


def numbers(assigned: Mapping[str, Role]) -> dict[str, Role]:
    """The axes whose values the program reads."""
    return {axis: role for axis, role in assigned.items() if not role.static}


def arguments(optimizer: Callable) -> dict[str, inspect.Parameter]:
    """The arguments that an optimizer factory takes by name.

    Raises:
        InputError: it is no function.
    """
    try:
        parameters = inspect.signature(optimizer).parameters.values()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optimizer = {optimizer!r:.80}, expected a function that makes a transformation, such "
            f"as optax.sgd or functools.partial(optax.sgd, momentum=0.9): it is called inside the "
            f"program, with the axes it names"
        ) from error
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p for p in parameters if p.kind in by_name}


def check_arguments(optimizer: Callable, assigned: Mapping[str, Role]) -> None:
    """Make sure that an optimizer factory gets all its arguments.

    Raises:
        InputError: one has neither an axis nor a default.
    """
    swept = {role.keyword for role in assigned.values() if role.role == "optimizer"}
    missing = [
        name
        for name, parameter in arguments(optimizer).items()
        if parameter.default is parameter.empty and name not in swept
    ]
    if missing:
        raise InputError(
            f"optimizer: {', '.join(missing)} has no value; add an axis of that name, or fix it "
            f"with functools.partial(..., {missing[0]}=0.1)"
        )


def with_settings(
    problem: Problem,
    cost: Mapping[str, Any] = MappingProxyType({}),
    init: Mapping[str, Any] = MappingProxyType({}),
    **_: Any,
) -> Problem:
    """A problem some of whose keywords are fixed, such as a temperature or an activation.

    Args:
        problem: whose.
        cost: keywords of its cost; its evaluation, its metrics and its outputs have those that
            they declare.
        init: keywords of its `init`.
    """
    if not cost and not init:
        return problem

    def fixed(function, settings=cost):
        return None if function is None else bind(function, settings)

    return dataclasses.replace(
        problem,
        init=fixed(problem.init, init),
        cost=fixed(problem.cost),
        evaluation=fixed(problem.evaluation),
        metrics={
            name: dataclasses.replace(metric, function=fixed(metric.function))
            for name, metric in problem.metrics.items()
        },
        predict=fixed(problem.predict),
    )


class Traced(NamedTuple):
    """What tracing a function showed: shapes of what it returns, and axes that change nothing."""

    shapes: PyTree
    idle: tuple[str, ...]


def traced(
    function: Callable[..., PyTree],
    role: str,
    assigned: Mapping[str, Role],
    grid: Axes,
    *like: PyTree,
) -> Traced:
    """What a function returns while the axes that set its keywords are traced.

    Args:
        function: takes arrays like `like`, and the keywords that the role's axes set.
        role: one of `ROLES`.
        assigned: which keyword each axis sets.
        grid: the axes; their first values serve as an example.
        like: arrays, or their shapes.

    Raises:
        InputError: an axis that cannot be swept, since its keyword decides how the program looks
            (`nesterov`, step counts of Optax's schedules, anything that sets a shape).
    """
    example = {axis: values[0] for axis, values in grid.by_name.items()}
    axis_of = {r.keyword: axis for axis, r in numbers(assigned).items() if r.role == role}

    def trace(*names):
        fixed = {k: example[axis].item() for k, axis in axis_of.items() if k not in names}
        return jax.make_jaxpr(
            lambda given, *like: function(*like, **fixed, **given), return_shape=True
        )({k: jnp.asarray(example[axis_of[k]]) for k in names}, *like)

    def fails(*names):
        try:
            trace(*names)
        except Exception:  # whatever a user's function makes of a tracer
            return True
        return False

    try:
        program, shapes = trace(*axis_of)
    except Exception as error:
        culprits = [axis for k, axis in axis_of.items() if fails(k)]
        if not culprits or fails():  # it is not the tracing
            raise
        raise InputError(
            f"axes: {culprits[0]} cannot be swept: {role} decides with it how the program looks; "
            f"give it as truth values or names, or `gd.compare` problems that differ in it"
        ) from error
    used = _used(program.jaxpr)
    # Keywords come first among the program's inputs, in the order of a dict's leaves.
    idle = (k for k, used in zip(sorted(axis_of), used, strict=False) if not used)
    return Traced(shapes, tuple(axis_of[k] for k in idle))


def _used(program) -> list[bool]:
    """Which inputs of a traced program have a part in what it returns, or may have."""
    needed = {id(v) for v in program.outvars}
    for equation in reversed(program.eqns):
        if any(id(v) in needed for v in equation.outvars):
            needed |= {id(v) for v in equation.invars}
    return [id(v) in needed for v in program.invars]


def check_update(
    optimizer: Callable, assigned: Mapping[str, Role], grid: Axes, params: PyTree
) -> None:
    """Make sure that a factory builds an optimiser inside the program, and that it can be used.

    Args:
        optimizer: such as `optax.sgd`.
        assigned: which keyword each axis sets.
        grid: the axes.
        params: shapes of the parameters.

    Raises:
        InputError: what it returns is no optimiser; an axis that cannot be swept, or without
            effect.
    """

    def moved(params, **given):
        made = optimizer(**given)
        if not all(callable(getattr(made, name, None)) for name in ("init", "update")):
            raise InputError(
                f"optimizer: {_name(optimizer)} returned {made!r:.80}, expected an Optax "
                f"transformation, such as optax.sgd(0.1)"
            )
        value = jnp.zeros((), cost_type(params))
        return update(
            made,
            params,
            made.init(params),
            params,
            value=value,
            value_fn=lambda p: value + optax.tree.norm(p, squared=True),
            grad_fn=lambda p: p,
        )

    idle = traced(moved, "optimizer", assigned, grid, params).idle
    check_effect(idle, _name(optimizer))


def check_effect(idle: tuple[str, ...], where: str) -> None:
    """Refuse axes that change nothing: all runs along them would be equal.

    Raises:
        InputError: there are any.
    """
    if idle:
        raise InputError(
            f"axes: {idle[0]} has no effect on what {where} computes; leave it out, or give the "
            f"setting that it belongs to (nesterov needs a momentum)"
        )


def _name(function: Any) -> str:
    inner = getattr(function, "func", function)
    return getattr(inner, "__name__", repr(inner))
