"""Trace and spectral density of the Hessian.

    trace = sum_i lambda_i,   density(x) = 1/n sum_i N(x; lambda_i, bandwidth^2)

Up to 512 parameters both are exact. For more, they are estimated with matfree from Hessian-vector
products, with standard errors, as n times the mean of v^T H v / |v|^2 and as the mean of
v^T N(x; H, bandwidth^2) v / |v|^2 over random vectors v.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree, ScalarLike
from matfree import decomp, stochtrace

from gdjax.base.arguments import MAX_COUNT, check_limits, check_whole
from gdjax.base.keys import check_key
from gdjax.base.limits import Positive
from gdjax.base.reprs import fields
from gdjax.curvature import student_t
from gdjax.curvature.eigenpairs import DENSE, ROUNDING, products_with_bar
from gdjax.curvature.operators import HessianOperator, SymmetricOperator, as_operator
from gdjax.problems.problem import Problem

TAIL = 0.025  # probability outside each end of the interval of a trace
POINTS = 1001  # number of points at which the density is evaluated


class HessianTrace(NamedTuple):
    """Trace with its standard error.

    Args:
        value: estimate of the trace.
        error: standard error plus a bound on the rounding error.
        low: lower end of a 95 % confidence interval.
        high: upper end of this interval.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


class SpectralDensity(NamedTuple):
    """Density of the eigenvalues; it integrates to 1.

    Args:
        at: evenly spaced values at which the density is evaluated.
        value: density at these points, per unit of the eigenvalue.
        error: standard error of the density, from the spread over probes; 0 up to 512 parameters.
        nodes: Ritz values in the Krylov spaces, one row per probe; up to 512 parameters, one row of
            all eigenvalues.
        weights: share of the spectrum that each node represents; each row sums to 1.
        bandwidth: standard deviation of the Gaussian that replaces each node.
    """

    at: Float[Array, " points"]
    value: Float[Array, " points"]
    error: Float[Array, " points"]
    nodes: Float[Array, "probes depth"]
    weights: Float[Array, "probes depth"]
    bandwidth: Float[Array, ""]

    __repr__, _repr_html_ = fields


def hessian_trace(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    probes: int = 48,
    operator: Callable[..., SymmetricOperator] = HessianOperator,
) -> HessianTrace:
    """Return the trace of the Hessian or another operator, with standard error.

        tr H = tr Q^T H Q + E v^T (I - QQ^T) H (I - QQ^T) v,   v random signs

    Q spans the products of H with a third of the probes. It captures the large eigenvalues, so that
    the second term has a small variance. The standard error is estimated from the spread over the
    last third of the probes, m in number. The interval therefore uses Student's t distribution with
    m - 1 degrees of freedom: for 24 probes it extends over 2.36 standard errors, not 1.96. Its
    coverage is lower if one direction dominates (I - QQ^T) H (I - QQ^T), since the terms of the
    mean are then far from normally distributed: about 85 % for 24 probes.

    Args:
        problem, params, operator: as for `extreme_eigenpairs`.
        key: key for the random probes.
        probes: number of Hessian-vector products, at least 6, rounded down to a multiple of 3; not
            used up to 512 parameters, where the trace is exact.

    Examples:
        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> float(hessian_trace(bowl, jnp.ones(2), key=jax.random.key(0)).value)
        11.0

    References: Meyer, Musco, Musco and Woodruff 2021, *Hutch++: optimal stochastic trace
    estimation*.
    """
    check_key(key)
    check_whole("hessian_trace: probes", probes, 6, MAX_COUNT, remedy=", two for each third")
    hessian = as_operator("hessian_trace", operator, problem, params)
    flat, product = ravel_pytree(hessian.like)[0], hessian.flat_mv
    rounding = ROUNDING * jnp.finfo(flat.dtype).eps
    if flat.size <= DENSE:
        matrix = hessian.as_matrix()
        return _trace(jnp.trace(matrix), 0.0, rounding * jnp.linalg.norm(matrix), 1.0)
    third = min(probes // 3, flat.size // 2)
    key_sketch, key_probe = jax.random.split(key)
    block_product = jax.vmap(product, in_axes=1, out_axes=1)
    with jax.default_matmul_precision("highest"):
        sketch = block_product(jax.random.normal(key_sketch, (flat.size, third), flat.dtype))
        basis = jnp.linalg.qr(sketch)[0]
        images = block_product(basis)

        def project_out(v):
            return v - basis @ (basis.T @ v)

        estimate = stochtrace.estimator_monte_carlo_mean_and_sem(
            stochtrace.monte_carlo_trace(), stochtrace.sampler_signs(flat, num=third)
        )
        remainder, error = estimate(lambda v: project_out(product(project_out(v))), key_probe)
    # matfree divides by the number of probes, not by one less.
    unbiased = (third / (third - 1)) ** 0.5
    t = student_t.quantile(TAIL, jnp.asarray(third - 1.0, flat.dtype))
    rounding = rounding * jnp.linalg.norm(images)
    return _trace(jnp.sum(basis * images) + remainder, error * unbiased, rounding, t)


def _trace(value, error, rounding, t):
    width = t * error + rounding
    return HessianTrace(value, error + rounding, value - width, value + width)


def spectral_density(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    probes: int = 8,
    depth: int = 64,
    bandwidth: ScalarLike = 0.01,
    operator: Callable[..., SymmetricOperator] = HessianOperator,
) -> SpectralDensity:
    """Return the spectral density of a Hessian by stochastic Lanczos quadrature.

        1/n tr f(H) = E v^T f(H) v / |v|^2 ~ E sum_j weight_j f(node_j),   f = N(x; ., bandwidth^2)

    The time is that of `probes` times `depth` Hessian-vector products; outside a jitted function, a
    progress bar appears after two seconds.

    Args:
        problem, params, operator: as for `extreme_eigenpairs`.
        key: key for the random probes.
        probes: number of random vectors, at least 2; not used up to 512 parameters, where nodes are
            exact.
        depth: number of products per probe; nodes at the ends of the spectrum converge first.
        bandwidth: standard deviation of the Gaussian at each node, relative to the largest
            |eigenvalue|.

    Examples:
        >>> bowl = lambda w: (w[0] ** 2 + 10 * w[1] ** 2) / 2
        >>> density = spectral_density(bowl, jnp.ones(2), key=jax.random.key(0))
        >>> density.nodes.tolist(), density.weights.tolist()
        ([[1.0, 10.0]], [[0.5, 0.5]])

    References: Ghorbani, Krishnan and Xiao 2019, arXiv 1901.10159; Papyan 2018, arXiv 1811.07062.
    """
    check_key(key)
    check_whole("spectral_density: probes", probes, 2, MAX_COUNT)
    check_whole("spectral_density: depth", depth, 1, MAX_COUNT)
    check_limits("spectral_density: bandwidth", bandwidth, Positive)
    hessian = as_operator("spectral_density", operator, problem, params)
    flat = ravel_pytree(hessian.like)[0]
    if flat.size <= DENSE:
        nodes = jnp.linalg.eigvalsh(hessian.as_matrix())[None]
        weights = jnp.full_like(nodes, 1 / flat.size)
    else:
        with products_with_bar(hessian, key, min(depth, flat.size)) as product:
            nodes, weights = _quadrature(product, flat, key, probes, depth)
    norm = jnp.max(jnp.abs(nodes))
    sigma = jnp.asarray(bandwidth * jnp.where(norm > 0, norm, 1))
    margin = 5 * sigma
    at = jnp.linspace(jnp.min(nodes) - margin, jnp.max(nodes) + margin, POINTS)

    def smoothed(nodes, weights):
        bells = jax.scipy.stats.norm.pdf(at[:, None], nodes[None], sigma)
        return jnp.sum(bells * weights[None], axis=1)

    single = jax.vmap(smoothed)(nodes, weights)
    spread = jnp.std(single, axis=0, ddof=1) if len(nodes) > 1 else jnp.zeros_like(at)
    return SpectralDensity(
        at=at,
        value=jnp.mean(single, axis=0),
        error=spread / len(nodes) ** 0.5,
        nodes=nodes,
        weights=weights,
        bandwidth=sigma,
    )


def _quadrature(product, flat, key, probes, depth):
    """Return the Ritz values in each probe's Krylov space and their weights."""
    lanczos = decomp.tridiag_sym(min(depth, flat.size), custom_vjp=False)

    def nodes_and_weights(probe):
        matrix = lanczos(product, probe).J_small
        # Beyond an exhausted Krylov space the matrix is NaN or noise. Use only the part before it.
        diagonal, off_diagonal = jnp.diagonal(matrix), jnp.diagonal(matrix, 1)
        size = jax.lax.cummax(jnp.abs(diagonal[:-1]))
        is_resolved = off_diagonal > 100 * jnp.finfo(flat.dtype).eps * size
        known = jnp.cumprod(jnp.append(jnp.isfinite(diagonal[0]), is_resolved)).astype(bool)
        resolved = jnp.where(known[:, None] & known[None], matrix, 0)
        nodes, vectors = jnp.linalg.eigh(resolved)
        return jnp.where(known[0], nodes, jnp.nan), vectors[0] ** 2

    with jax.default_matmul_precision("highest"):
        return jax.vmap(nodes_and_weights)(jax.random.normal(key, (probes, flat.size), flat.dtype))
