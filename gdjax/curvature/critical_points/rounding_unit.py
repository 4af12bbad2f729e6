"""Rounding unit of a function: that of the least precise type on a path from its argument.

    w in float64,   f(w) = g(w.astype(float32))   ->   eps = 2^-23

Casts and matrix products of reduced precision are found in the jaxpr, subprograms included. The
rounding of `round`, callbacks, custom calls and custom derivative rules is not visible there.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gdjax.base.internals import Literal, subprograms

TF32, BFLOAT16 = 2.0**-10, 2.0**-7
# Rounding units of the operands of products, by the name of their precision; 0 for full precision.
OPERANDS = {"F32": 0.0, "F64": 0.0, "TF32": TF32, "F16": TF32, "BF16": BFLOAT16, "ANY": 2.0**-2}


def rounding_unit(function: Callable, w: Float[Array, " n"]) -> float:
    """Return the largest eps of the float types on paths from w to the function's values.

    Examples:
        >>> rounding_unit(lambda w: jnp.sum(w.astype(jnp.bfloat16) ** 2), jnp.ones(2))
        0.0078125
        >>> rounding_unit(lambda w: w[0] * jnp.ones(2, jnp.bfloat16), jnp.ones(2)) < 1e-6
        True
    """
    jaxpr = jax.make_jaxpr(function)(w).jaxpr
    return max(_units(jaxpr, [float(jnp.finfo(w.dtype).eps)]))


def _units(jaxpr, inputs):
    """Return the largest eps on paths from the inputs to each output, 0 if there is no path."""
    units = dict(zip(jaxpr.invars, inputs, strict=True))

    def of(variables):
        return [0.0 if isinstance(v, Literal) else units.get(v, 0.0) for v in variables]

    for equation in jaxpr.eqns:
        inputs = of(equation.invars)
        outputs = [max(inputs, default=0.0)] * len(equation.outvars)
        if any(inputs) and subprograms(equation)[0]:
            outputs = _of_subprograms(equation, inputs)
        for variable, unit in zip(equation.outvars, outputs, strict=True):
            own = _own_unit(equation, variable.aval.dtype)
            units[variable] = max(unit, own) if unit and own else 0.0
    return of(jaxpr.outvars)


def _of_subprograms(equation, inputs):
    """Return the units of the outputs of an equation with subprograms, such as a loop."""
    (programs, carry), outputs = subprograms(equation), [0.0] * len(equation.outvars)
    while True:  # until another iteration of the loop changes nothing
        before = outputs
        for program in programs:
            # Operands end with those of the subprogram: the first of `cond` is the branch.
            operands = inputs[len(inputs) - len(program.invars) :]
            if len(operands) != len(program.invars):
                operands = [max(inputs)] * len(program.invars)
            units = _units(program, operands)
            if len(units) != len(outputs):
                units = [max(units, default=0.0)] * len(outputs)
            outputs = [max(pair) for pair in zip(outputs, units, strict=True)]
        if outputs == before:
            return outputs
        inputs[carry] = map(max, inputs[carry], outputs)


def _own_unit(equation, dtype):
    """Return the rounding unit of an equation's results of the given type."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    unit = float(jnp.finfo(dtype).eps)
    if equation.primitive.name == "reduce_precision":
        return max(unit, 2.0 ** -equation.params["mantissa_bits"])
    if equation.primitive.name in ("dot_general", "conv_general_dilated"):
        return max(unit, _unit_of_operands(equation.params["precision"], dtype))
    return unit


def _unit_of_operands(precision, dtype):
    """Return the unit to which a product rounds its operands; 0 if it does not round them."""
    name = getattr(precision, "name", "DEFAULT").split("_")[0]
    if name != "DEFAULT":
        return OPERANDS[name]
    is_highest = isinstance(precision, tuple) and set(precision) == {jax.lax.Precision.HIGHEST}
    if is_highest or dtype != jnp.float32 or jax.default_backend() == "cpu":
        return 0.0
    return BFLOAT16 if jax.default_backend() == "tpu" else TF32
