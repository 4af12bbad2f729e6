"""Growth of a small displacement along a run: the finite-time Lyapunov exponent.

    z_t = (w_t, optimizer state),   z_{t+1} = F_t(z_t),   v_{t+1} = F_t'(z_t) v_t
    lambda_T = 1/T sum_t log(|v_{t+1}| / |v_t|)

F_t is a step on the mini-batch of step t, so that two runs with the same order of mini-batches are
compared. On the quadratic cost a w^2 / 2, plain descent multiplies a displacement by |1 - eta a|.
With several eigenvalues a, the exponent tends to the largest log|1 - eta a|. On a floor of
minima it tends to 0 as 1/T, so that the sign alone does not tell whether a run is chaotic. Since
the displacement includes the optimizer's state, the exponent of Adam does not fall below log b2
near a minimum: its average of squared gradients shrinks by the factor b2 a step.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.problems.metrics import described
from gdjax.problems.optimizers import cost_type, update
from gdjax.problems.problem import Problem


class TangentState(NamedTuple):
    """State of an optimizer and of a tangent vector of its runs.

    Args:
        inner: state of the optimizer.
        tangent: displacement of the parameters, and of the real arrays of `inner`, of length 1.
        log_growth: sum of the logarithms of the growth of all steps.
        steps: number of steps.
    """

    inner: PyTree
    tangent: tuple[PyTree, list[Array]]
    log_growth: Float[Array, ""]
    steps: Int[Array, ""]


def with_tangent(
    make_optimizer: Callable[..., optax.GradientTransformation], *, key: Key[Array, ""]
) -> Callable[..., optax.GradientTransformationExtraArgs]:
    """Return an optimizer that also moves a tangent vector along each run.

        v_{t+1} = F_t'(z_t) v_t / |F_t'(z_t) v_t|

    The runs themselves do not change. The first tangent vector is random in the parameters and 0 in
    the optimizer's state. Each step computes one more product with the Hessian of its batch. The
    exponent is recorded by the metric `lyapunov_exponent`.

    Args:
        make_optimizer: factory of an optimizer with a differentiable update, such as `optax.sgd`.
            For an optimizer that divides by a root, such as Adam, pass an `eps_root` above 0, since
            the root of 0 has no derivative. Updates that use signs have the derivative 0.
        key: random key of the first tangent vector.

    Returns:
        A factory with the arguments of `make_optimizer`, for a sweep, or for `gd.descend` if it is
        called.

    Examples:
        On the bowl |w|^2 / 2, a step multiplies a displacement by 1 - learning_rate:

        >>> from gdjax import Problem, axes, sweep
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: w @ w / 2)
        >>> watched = with_tangent(optax.sgd, key=jax.random.key(0))
        >>> recorded = {"make_optimizer": watched, "metrics": {"lyapunov": lyapunov_exponent}}
        >>> runs = sweep(bowl, axes(learning_rate=[0.5]), 4, **recorded)
        >>> bool(jnp.allclose(runs.lyapunov[0, 1:].values, jnp.log(0.5)))
        True
    """
    check_key(key)

    @functools.wraps(make_optimizer)
    def make(*args: Any, **settings: Any) -> optax.GradientTransformationExtraArgs:
        optimizer = make_optimizer(*args, **settings)

        def init(params):
            inner = optimizer.init(params)
            start = optax.tree.random_like(key, params), [0 * a for a in _split(inner)[0]]
            tangent, _ = _normalized(start, start)
            dtype = cost_type(params)
            return TangentState(inner, tangent, jnp.zeros((), dtype), jnp.zeros((), jnp.int32))

        def advance(updates, state, params=None, *, value, value_fn, grad_fn, **_):
            direction, of_inner = state.tangent
            real, merge = _split(state.inner)

            def step(value, gradient, real, params):
                updates, inner = update(
                    optimizer,
                    gradient,
                    merge(real),
                    params,
                    value=value,
                    value_fn=value_fn,
                    grad_fn=grad_fn,
                )
                return (optax.apply_updates(params, updates), _split(inner)[0]), (updates, inner)

            change = jax.jvp(value_fn, (params,), (direction,))[1].astype(value.dtype)
            of_gradient = jax.jvp(grad_fn, (params,), (direction,))[1]
            _, product, (updates, inner) = jax.jvp(
                step,
                (value, updates, real, params),
                (change, of_gradient, of_inner, direction),
                has_aux=True,
            )
            tangent, growth = _normalized(product, state.tangent)
            log_growth = state.log_growth + jnp.log(growth).astype(state.log_growth.dtype)
            return updates, TangentState(inner, tangent, log_growth, state.steps + 1)

        return optax.GradientTransformationExtraArgs(init, advance)  # ty: ignore

    return make


@described(long_name="finite-time Lyapunov exponent")
def lyapunov_exponent(problem: Problem, params: PyTree, *, opt_state: PyTree) -> Array:
    """Return the finite-time Lyapunov exponent of a run, a measurement along descents.

        lambda_t = 1/t sum_{s<t} log |F_s'(z_s) v_s|,   v_s of length 1

    It is the mean over the steps so far; the exponent from step s to step t is
    (t lambda_t - s lambda_s) / (t - s). It is NaN at step 0, and says nothing of a run that has
    diverged. The optimizer must be one of `with_tangent`, whose example records it.

    Args:
        problem, params: not used, since the state of the optimizer has the exponent.
        opt_state: state of an optimizer of `with_tangent`.

    References: Pikovsky and Politi 2016, *Lyapunov Exponents*, chapter 3.
    """
    if not isinstance(opt_state, TangentState):
        raise InputError(
            f"lyapunov_exponent: the optimizer's state is a {type(opt_state).__name__}, expected "
            f"that of with_tangent; pass make_optimizer=with_tangent(optax.sgd, key=...)"
        )
    return opt_state.log_growth / opt_state.steps


def _split(state):
    """Return the real arrays of an optimizer's state, and the function that puts others back."""
    leaves, structure = jax.tree.flatten(state)
    is_real = [jnp.issubdtype(jnp.result_type(a), jnp.floating) for a in leaves]

    def merge(real):
        remaining = iter(real)
        return jax.tree.unflatten(
            structure, [next(remaining) if r else a for r, a in zip(is_real, leaves, strict=True)]
        )

    return [jnp.asarray(a) for a, real in zip(leaves, is_real, strict=True) if real], merge


def _normalized(vector, previous):
    """Return a vector of length 1 and the length before; the previous direction for length 0."""
    length = optax.tree.norm(vector)
    scaled = jax.tree.map(lambda a: (a / length).astype(a.dtype), vector)
    return jax.tree.map(lambda a, b: jnp.where(length > 0, a, b), scaled, previous), length
