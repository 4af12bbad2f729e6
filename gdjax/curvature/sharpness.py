"""Sharpness along a descent, the largest eigenvalue of the Hessian.

    sharpness = max v^T H v over |v| = 1;   gradient descent is stable below 2 / eta

See `stability_threshold` for the limits of other optimizers. The sharpness is the algebraically
largest eigenvalue, even if a negative one has a larger absolute value.
"""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from gdjax.base.arguments import check_callable, check_limits
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Positive
from gdjax.curvature import eigensolvers
from gdjax.curvature.eigenpairs import ROUNDING
from gdjax.curvature.operators import (
    FunctionOperator,
    HessianOperator,
    PreconditionedHessian,
    SymmetricOperator,
)
from gdjax.problems.optimizers import cost_type
from gdjax.problems.problem import Problem

# Along a descent, one round of four powers of the Hessian on two vectors is usually enough.
SIZES = eigensolvers.Sizes(upper=eigensolvers.BLOCK, lower=0, basis=8)
MAX_RESTARTS = 19


class SharpnessState(NamedTuple):
    """State of `Sharpness`, from which the next estimate starts.

    Stores of continuable sweeps save the state under these field names.

    Args:
        vectors: approximate eigenvectors of the largest eigenvalues, largest first; no columns if
            the dense Hessian is decomposed.
        residual: |H v - sharpness v| of the last estimate, for its eigenvector v of length 1.
        products: number of Hessian-vector products in all estimates so far.
        drawn: number of times that random directions were drawn.
    """

    vectors: Float[Array, "n together"]
    residual: Float[Array, ""]
    products: Int[Array, ""]
    drawn: Int[Array, ""]


@dataclass(frozen=True)
class Sharpness:
    """Measurement of the largest eigenvalues of the Hessian, which starts at the last estimate.

        sharpness = max v^T H v over |v| = 1,   H = grad grad C over the whole training set

    The algebraically largest eigenvalue is computed by block Lanczos, which starts from the two
    leading eigenvectors of the last estimate. The second is mixed with a random direction, so that
    an eigenvector whose eigenvalue becomes the largest later is found as well. Restarts end when
    |H v - sharpness v| is at most rtol |sharpness| plus rounding. An eigenvalue then lies
    within that distance, and the error is of the order of the squared distance divided by the gap
    to the next eigenvalue. A larger eigenvalue is unlikely, but not excluded. Up to 8 parameters
    the dense Hessian is decomposed. The result is NaN if 19 restarts are not enough or a value is
    not finite. On CPUs LAPACK is not called for up to 6 eigenvalues, since it could deadlock if
    runs use several devices.

    An estimate costs 8 Hessian-vector products if little has changed, and 6 more for each restart;
    with 10 eigenvalues 20, and 8 more for each restart.

    Args:
        count: number of eigenvalues, at most the number of parameters, as an array with the
            dimension `eigenvalue`, descending; None for the largest one as a number.
        rtol: tolerance of each residual, relative to its eigenvalue.
        preconditioner: function from the optimizer's state to the diagonal P > 0, a pytree like the
            parameters, such as `gd.curvature.preconditioner(optax.adam)`. The eigenvalues are then
            those of P^-1 H, and NaN where P is NaN, for example at the start of Adam.
        operator: function `operator(problem, params)` that returns the operator whose largest
            eigenvalues are computed, such as `GaussNewtonOperator`. Not used with a preconditioner.

    Examples:
        The algebraically largest eigenvalue of a saddle, along a descent and at a point:

        >>> import gdjax as gd
        >>> bowl = gd.problems.bowl([1.0, 3.0, 2.0])
        >>> metrics = {"sharpness": Sharpness(), "top": Sharpness(count=2)}
        >>> runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1]), 1, metrics=metrics)
        >>> runs.top.isel(learning_rate=0, step=-1).values.round(3).tolist()
        [3.0, 2.0]
        >>> saddle = lambda w: 2 * w[0] ** 2 - 9 * w[1] ** 2
        >>> float(gd.measure(metrics, (saddle, jnp.ones(2))).sharpness)
        4.0

    References: Cohen et al. 2021, *Gradient Descent on Neural Networks Typically Occurs at the Edge
    of Stability*, arXiv 2103.00065; Sagun et al. 2017, arXiv 1706.04454.
    """

    count: int | None = None
    _: KW_ONLY
    rtol: float = 1e-3
    preconditioner: Callable[[PyTree], PyTree] | None = None
    operator: Callable[..., SymmetricOperator] = HessianOperator

    def __post_init__(self):
        if self.count is not None:
            check_limits("Sharpness: count", self.count, Count)
        check_limits("Sharpness: rtol", self.rtol, Positive)
        check_callable("Sharpness: operator", self.operator, "a class such as HessianOperator")
        if self.preconditioner is not None:
            remedy = "a function of the optimizer's state, such as preconditioner(optax.adam)"
            check_callable("Sharpness: preconditioner", self.preconditioner, remedy)

    @property
    def dims(self) -> tuple[str, ...]:
        """Dimensions of the value."""
        return () if self.count is None else ("eigenvalue",)

    @property
    def long_name(self) -> str:
        """Description of the value."""
        if self.preconditioner is not None:
            return "preconditioned sharpness, the largest eigenvalue of P^-1 H"
        one = "sharpness, the Hessian's largest eigenvalue"
        return one if self.count is None else "the Hessian's largest eigenvalues"

    @property
    def needs(self) -> tuple[str, ...]:
        """Keywords that a run supplies: the optimizer's state, for a preconditioner only."""
        return () if self.preconditioner is None else ("opt_state",)

    def init(self, problem: Problem, params: PyTree) -> SharpnessState:
        """Return the state before the first estimate, with random directions.

        The operator may be that of a single layer.
        """
        size, _ = self.operator(problem, params).shape
        dtype = cost_type(params)
        columns = eigensolvers.BLOCK if size > _sizes(self.count or 1).basis else 0
        return SharpnessState(
            vectors=_random(jnp.zeros((), jnp.int32), (size, columns), dtype),
            residual=jnp.full((), jnp.inf, dtype),
            products=jnp.zeros((), jnp.int32),
            drawn=jnp.ones((), jnp.int32),
        )

    def __call__(
        self,
        problem: Problem,
        params: PyTree,
        state: SharpnessState,
        *,
        opt_state: PyTree = None,
    ) -> tuple[Float[Array, "..."], SharpnessState]:
        """Return the eigenvalues, and the state from which the next estimate starts."""
        operator = self.operator
        if self.preconditioner is not None:
            diagonal = self.preconditioner(opt_state)
            operator = partial(PreconditionedHessian, preconditioner=diagonal)
        hessian, count = operator(problem, params), self.count or 1
        values, state = _largest_eigenvalues(hessian, state, rtol=self.rtol, count=count)
        return values[0] if self.count is None else values, state


def _sizes(count):
    """Return numbers of Lanczos vectors; few, since the start is near the solution."""
    upper = eigensolvers.sizes(count, 0).upper
    return SIZES if count == 1 else eigensolvers.Sizes(upper, 0, upper + SIZES.basis)


def _key(drawn):
    # A converged eigenvalue depends on the random directions only within its tolerance, so all runs
    # use equal directions, and the metric needs no key.
    return jax.random.fold_in(jax.random.key(0), drawn)


def _random(drawn, shape, dtype):
    """Return random directions of length near 1, one per column."""
    return jax.random.normal(_key(drawn), shape, dtype) / jnp.sqrt(jnp.asarray(shape[0], dtype))


def _largest_eigenvalues(hessian, state, *, rtol, count):
    """Return the largest eigenvalues, descending and NaN where not converged, and the next state.

    The search starts at the eigenvectors of a nearby operator in the state.
    """
    sizes = _sizes(count)
    size, dtype = hessian.shape[0], state.residual.dtype

    def allowed(values, norm):
        return rtol * jnp.abs(values) + ROUNDING * jnp.finfo(dtype).eps * norm

    if count > size:
        raise InputError(
            f"Sharpness: count = {count}, expected at most {size}, the number of parameters"
        )
    if size <= sizes.basis:
        matrix = FunctionOperator(hessian.flat_mv, jnp.zeros(size, dtype)).as_matrix()
        ritz = eigensolvers.dense_ritz_pairs(matrix, eigensolvers.eigh(matrix), count, 0)
        ritz = ritz._replace(block=state.vectors)
    else:
        random_direction = _random(state.drawn, (size,), dtype)
        ritz = eigensolvers.extreme_ritz_pairs(
            hessian.flat_mv,
            jnp.ones(size, dtype),
            _key(state.drawn + 1),
            largest=count,
            smallest=0,
            tolerance=allowed,
            max_restarts=MAX_RESTARTS,
            block=state.vectors.at[:, 1].add(random_direction),
            space=sizes,
        )
    values, residuals = ritz.values, ritz.residuals
    finite = jnp.isfinite(values) & jnp.isfinite(residuals)
    converged = finite & (residuals <= allowed(values, ritz.norm))
    # Keep the previous vectors if the largest eigenvalue is not finite.
    block = jnp.where(finite[0], ritz.block, state.vectors)
    state = SharpnessState(block, residuals[0], state.products + ritz.num_hvps, state.drawn + 2)
    return jnp.where(converged, values, jnp.nan), state
