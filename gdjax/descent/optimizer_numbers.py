"""Numbers of an optimizer, such as its learning rate, as arguments of a program.

    optax.sgd(0.1)  ->  make_optimizer, {"float32": [-0.1]}

A program is then compiled once for optimizers that differ in these numbers only. They are the
factors of products in the trace of an update. Other numbers remain constants, since the compiler
may compute with constants in another way, which would change the last bits of results.

>>> import jax.numpy as jnp
>>> make_optimizer, numbers = with_numbers(optax.sgd(0.5), jnp.ones(2))
>>> optimizer, w, zero = make_optimizer(**numbers), jnp.ones(2), jnp.zeros(())
>>> halves, _ = optimizer.update(w, optimizer.init(w), w, value=zero)
>>> numbers["float32"].tolist(), halves.tolist()
([-0.5], [-0.5, -0.5])
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from gdjax.base.internals import ClosedJaxpr, Literal, Var, jaxpr_as_fun
from gdjax.problems.optimizers import cost_type, update


def with_numbers(
    optimizer: optax.GradientTransformation, params: PyTree
) -> tuple[Callable[..., optax.GradientTransformation], dict[str, Float[np.ndarray, " numbers"]]]:
    """Return a factory of an optimizer, and the numbers that it takes, by their type.

    An optimizer whose update evaluates the cost, or cannot be traced, has no such numbers.
    """
    try:
        program, structure = _traced(optimizer, params)
    except Exception:  # the checks of a descent explain it
        return lambda: optimizer, {}
    variables: list[Var] = []
    places: list[tuple[str, int]] = []
    values: dict[str, list[float]] = {}

    def name_of(operand):
        is_number = isinstance(operand, Literal) and operand.aval.shape == ()
        if not (is_number and jnp.issubdtype(operand.aval.dtype, jnp.floating)):
            return operand
        of_type = values.setdefault(operand.aval.dtype.name, [])
        places.append((operand.aval.dtype.name, len(of_type)))
        of_type.append(operand.val)
        variables.append(Var(operand.aval))
        return variables[-1]

    equations = [
        equation.replace(invars=list(map(name_of, equation.invars)))
        if equation.primitive.name == "mul"
        else equation
        for equation in program.jaxpr.eqns
    ]
    inner = program.jaxpr
    debug_info = inner.debug_info._replace(arg_names=None, result_paths=None)
    inputs = [*inner.invars, *variables]
    jaxpr = inner.replace(invars=inputs, eqns=equations, debug_info=debug_info)
    compute = jaxpr_as_fun(ClosedJaxpr(jaxpr, program.consts))

    def make_optimizer(**numbers):
        def update_fn(updates, state, params=None, value=None, **_):
            arguments = jax.tree.leaves((updates, state, params, value))
            own = [numbers[dtype][i] for dtype, i in places]
            return jax.tree.unflatten(structure, compute(*arguments, *own))

        return optax.GradientTransformationExtraArgs(optimizer.init, update_fn)

    return make_optimizer, {dtype: np.asarray(v, dtype) for dtype, v in values.items()}


def _traced(optimizer, params):
    """Return the trace of an update, and the structure of its results."""

    def one_update(gradient, opt_state, params, value):
        return update(
            optimizer, gradient, opt_state, params, value=value, value_fn=_fail, grad_fn=_fail
        )

    opt_state = jax.eval_shape(optimizer.init, params)
    value = jax.ShapeDtypeStruct((), cost_type(params))
    arguments = (params, opt_state, params, value)
    program, results = jax.make_jaxpr(one_update, return_shape=True)(*arguments)
    return program, jax.tree.structure(results)


def _fail(params: PyTree) -> Array:
    raise NotImplementedError
