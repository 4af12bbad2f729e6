"""Functions without their prints, for checks that evaluate a cost at points of no run."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from gdjax.base.internals import PRINTS, ClosedJaxpr, Jaxpr, jaxpr_as_fun, others_than_prints


def without_prints(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Return a function of arrays that does not call `jax.debug.print` or `jax.debug.callback`.

    Examples:
        >>> def noisy(x):
        ...     jax.debug.print("{}", x)
        ...     return 2 * x
        >>> float(without_prints(noisy)(1.0))
        2.0
    """

    def silent(*arguments: PyTree, **keywords: PyTree) -> PyTree:
        program, shapes = jax.make_jaxpr(
            lambda arguments, keywords: function(*arguments, **keywords), return_shape=True
        )(arguments, keywords)
        leaves = jaxpr_as_fun(_silent(program))(*jax.tree.leaves((arguments, keywords)))
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    return silent


def has_prints(program: ClosedJaxpr) -> bool:
    """Return whether a program calls `jax.debug.print` or `jax.debug.callback`."""
    return others_than_prints(program.effects) != program.effects


def _silent(value: Any) -> Any:
    """Return a program, or a parameter of an equation, without prints."""
    if isinstance(value, ClosedJaxpr) and not isinstance(value, Jaxpr):  # one class from JAX 0.12
        return value.replace(jaxpr=_silent(value.jaxpr))
    if isinstance(value, tuple | list):
        return type(value)(map(_silent, value)) if type(value) in (tuple, list) else value
    if not isinstance(value, Jaxpr):
        return value
    equations = [
        equation.replace(
            params={name: _silent(one) for name, one in equation.params.items()},
            effects=others_than_prints(equation.effects),
        )
        for equation in value.eqns
        if equation.primitive.name not in PRINTS
    ]
    return value.replace(eqns=equations, effects=others_than_prints(value.effects))
