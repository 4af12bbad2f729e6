"""How sharp a cost is to an optimiser that divides its steps: the largest eigenvalue of P^-1 H.

    w_{t+1} = w_t - eta P^-1 m_t,   preconditioned sharpness = lambda_max(P^-1/2 H P^-1/2)

P is diagonal, positive, and in the optimiser's memory: for Adam the root of the average of squared
gradients. What it must stay below is `stability_threshold`; along a descent it is the metric
`sharpness(problem, preconditioner=...)`. The simplest instance: divided by its own curvatures a
bowl is round.

>>> bowl = lambda w: w[0] ** 2 + 50 * w[1] ** 2
>>> float(preconditioned_sharpness(bowl, jnp.ones(2), jnp.array([2.0, 100.0])).round(3))
1.0

Source: Cohen et al. 2022, *Adaptive Gradient Methods at the Edge of Stability*, arXiv 2207.14484.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from gdjax.curvature.operators import PreconditionedHessian
from gdjax.curvature.sharpness import cold, follow
from gdjax.curvature.stability_limits import ADAPTIVE, known
from gdjax.errors import InputError
from gdjax.problems.problem import Problem


def preconditioned_sharpness(
    problem: Problem | Callable,
    params: PyTree,
    preconditioner: PyTree,
    *,
    data: PyTree = None,
    rtol: float = 1e-3,
) -> Float[Array, ""]:
    """The largest eigenvalue of P^-1 H at a point, found as that of P^-1/2 H P^-1/2.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the point w.
        preconditioner: P, a tree like `params`, its entries above 0: a user's own, or what
            `preconditioner(optimizer)` reads from an optimiser's memory.
        data: instead of the problem's own.
        rtol: of the residual, relative to the value.

    Returns:
        The most positive eigenvalue; NaN where it was not found, as before an adaptive optimiser's
        first step, when P is not known.

    Raises:
        InputError: a preconditioner whose tree or shapes are not those of the parameters.
    """
    operator = PreconditionedHessian(problem, params, preconditioner, data=data)
    return follow(operator, cold(params), rtol=rtol)[0]


def preconditioner(optimizer: Callable, **settings: Any) -> "Preconditioner":
    """A function from an optimiser's memory to the P of the step that filled it.

        P = (1 - b1^t) (sqrt(nu / (1 - b2^t) + eps_root) + eps),   RMSProp's P = sqrt(nu + eps)

    nu is the average of squared gradients after t steps. The corrections of both averages are in P,
    so that the momentum is the plain average m, to which `stability_threshold` applies.

    Args:
        optimizer: factory, as for `sweep`: Optax's `rmsprop`, `adam`, `adamw`, or a
            `functools.partial` of one.
        settings: keywords of the factory that are not its defaults.

    Raises:
        InputError: an optimizer that divides by nothing known, or settings that it does not take.

    Examples:
        >>> rule = optax.adam(0.1)
        >>> memory = rule.update(jnp.array([3.0, -4.0]), rule.init(jnp.zeros(2)))[1]
        >>> preconditioner(optax.adam)(memory).round(3).tolist()
        [0.3, 0.4]
    """
    factory, taken = known(optimizer, **settings)
    if factory not in ADAPTIVE:
        raise InputError(
            f"preconditioner: optimizer = {optimizer!r:.80} divides by nothing; for it take "
            f"`sharpness`"
        )
    if taken.get("centered"):
        raise InputError("preconditioner: centered = True, expected RMSProp that is not centered")
    if factory is optax.rmsprop:
        inside, outside = (taken["eps"], 0.0) if taken["eps_in_sqrt"] else (0.0, taken["eps"])
        corrected = taken["bias_correction"]
        return Preconditioner(0.0, taken["decay"] if corrected else 0.0, inside, outside)
    return Preconditioner(taken["b1"], taken["b2"], taken["eps_root"], taken["eps"])


@dataclass(frozen=True)
class Preconditioner:
    """`memory -> P`, what `preconditioner` returns; equal settings are one program.

    Args:
        mean_decay: b1, whose correction 1 - b1^t is in P; 0 for none.
        square_decay: b2, whose correction 1 - b2^t is in the root; 0 for none.
        inside: what is added below the root.
        outside: what is added to the root.
    """

    mean_decay: Any
    square_decay: Any
    inside: Any
    outside: Any

    def __call__(self, memory: PyTree) -> PyTree:
        """P, from an optimiser's memory that holds one average of squares.

        Raises:
            InputError: there is none, or more than one.
        """
        averages = [state for state in _states(memory) if "nu" in state._fields]
        if len(averages) != 1:
            raise InputError(
                f"preconditioner: the memory has {len(averages)} averages of squared gradients, "
                f"expected one, as optax.adam, adamw and rmsprop keep it"
            )
        (state,) = averages
        mean = square = 1.0
        if "count" in state._fields:
            t = jnp.asarray(state.count, float)
            # Before the first step nothing is known: 0 / 0.
            mean, square = (1 - jnp.power(b, t) for b in (self.mean_decay, self.square_decay))

        def of_leaf(nu):
            return (mean * (jnp.sqrt(nu / square + self.inside) + self.outside)).astype(nu.dtype)

        return jax.tree.map(of_leaf, state.nu)


def _states(memory):
    """The named states of an optimiser's memory, however deep they are chained."""
    if hasattr(memory, "_fields"):
        yield memory
    if isinstance(memory, tuple | list):
        for part in memory:
            yield from _states(part)
