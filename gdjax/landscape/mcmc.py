"""Hamiltonian Monte Carlo in whitened coordinates, and its diagnostics.

    R-hat = sqrt(variance of all samples / mean variance within a chain),   1 if the chains agree
    effective sample size = samples / (1 + 2 sum of autocorrelations)

Each chain is split into halves, which disagree if the chain has not mixed.

Chains mix faster in coordinates in which the basin is round, and estimates of volumes are more
accurate:

    w = w* + A z,   A^T (|H| + damping) A = 1

References: Vehtari et al. 2021, *Rank-normalization, folding, and localization: an improved R-hat*.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.base.errors import InputError
from gdjax.base.reprs import fields
from gdjax.curvature.eigensolvers import eigh
from gdjax.curvature.operators import HessianOperator
from gdjax.problems.problem import Problem

Samples = Float[Array, "chains samples"]

TARGET_ACCEPTANCE = 0.8
MAX_WHITENED = 500  # maximum number of parameters for a decomposition by default


class Whitening(NamedTuple):
    """A linear map w = A z of flat parameters, A = Q diag(scale).

    Args:
        scale: lengths of the basis vectors, the columns of A, above 0.
        axes: directions Q of these vectors, orthonormal columns; None means the identity.
    """

    scale: Float[Array, " n"]
    axes: Float[Array, "n n"] | None = None

    __repr__, _repr_html_ = fields

    def apply(self, z: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A z."""
        return self.scale * z if self.axes is None else self.axes @ (self.scale * z)

    def transposed(self, w: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A^T w."""
        return self.scale * (w if self.axes is None else self.axes.T @ w)

    def solve(self, w: Float[Array, " n"]) -> Float[Array, " n"]:
        """Return A^-1 w."""
        return (w if self.axes is None else self.axes.T @ w) / self.scale

    @property
    def log_determinant(self) -> Float[Array, ""]:
        """The logarithm log |det A|, in nats."""
        return jnp.sum(jnp.log(self.scale))


def hessian_whitening(
    problem: Problem | Callable, params: PyTree, *, damping: ScalarLike
) -> Whitening:
    """Return coordinates in which |H| + damping at a point is the identity.

        A = Q diag((|lambda| + damping)^(-1/2)),   H = Q diag(lambda) Q^T

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: the point, with at most 4,096 parameters, since the dense Hessian is decomposed.
        damping: curvature added to all directions. For Markov chains, use
            localization / inverse temperature; for a volume, use 2 level / R^2 if R is the
            approximate extent of the basin.

    Examples:
        A bowl whose axes differ by a factor of 100:

        >>> bowl = lambda w: (w[0] ** 2 + 1e4 * w[1] ** 2) / 2
        >>> scale = hessian_whitening(bowl, jnp.zeros(2), damping=0.0)
        >>> jnp.sort(jnp.abs(scale.apply(jnp.ones(2)))).round(3).tolist()
        [0.01, 1.0]
        >>> round(float(scale.log_determinant), 3)
        -4.605
    """
    values, axes = eigh(HessianOperator(problem, params).as_matrix())
    return Whitening((jnp.abs(values) + damping) ** -0.5, axes)


def mean_hessian_whitening(
    problem: Problem,
    unravel: Callable[[Float[Array, " n"]], PyTree],
    points: Float[Array, "points n"],
    *,
    damping: ScalarLike,
) -> Whitening:
    """Return coordinates in which the mean of |H| + damping is the identity.

        A = Q diag((h + damping)^(-1/2)),   mean of |H(w)| over points = Q diag(h) Q^T

    The eigenvalues of |H| are the absolute values of those of H. In a curved valley, directions
    that are flat at one point are steep at another, so coordinates from a single point would make
    the steps of chains too long at other points. Points whose Hessian is not finite are omitted.

    Args:
        problem: a Problem.
        unravel: function that converts a vector to parameters.
        points: parameters as vectors, one per row.
        damping: curvature added to all directions.
    """

    def absolute(point):
        matrix = HessianOperator(problem, unravel(point)).as_matrix()
        finite = jnp.all(jnp.isfinite(matrix))
        values, axes = eigh(jnp.where(finite, matrix, 0))
        return (axes * jnp.abs(values)[None]) @ axes.T, finite

    matrices, finite = jax.lax.map(absolute, points)
    values, axes = eigh(jnp.sum(matrices, axis=0) / jnp.maximum(jnp.sum(finite), 1))
    return Whitening((jnp.maximum(values, 0) + damping) ** -0.5, axes)


def rhat(draws: Float[Array, "chains draws"]) -> Float[Array, ""]:
    """Return the rank-normalized split R-hat, close to 1 if the chains agree.

    R-hat is computed from normal scores of the ranks of samples, so that it is robust to heavy
    tails, and from those of their distances from the median, so that it also detects chains of
    different widths. Values above 1.01 indicate that the chains have not converged.

    Args:
        draws: one number per sample, at least 4 samples per chain.

    Returns:
        The larger of the two values; +inf if all samples are equal.

    Examples:
        Four chains of independent samples, and the same chains after one of them is shifted:

        >>> draws = jax.random.normal(jax.random.key(0), (4, 1000))
        >>> bool(rhat(draws) < 1.01), bool(rhat(draws.at[0].add(3.0)) > 1.1)
        (True, True)
    """
    _check_draws("rhat", draws)
    halves = _halves(draws)
    folded = jnp.abs(halves - jnp.median(halves))
    both = jnp.maximum(_ratio(_normal_scores(halves)), _ratio(_normal_scores(folded)))
    return jnp.where(jnp.max(halves) > jnp.min(halves), both, jnp.inf)


def effective_sample_size(draws: Float[Array, "chains draws"]) -> Float[Array, ""]:
    """Return the number of independent samples with the same standard error.

    Autocorrelations are summed until the sum of a pair of neighbors is not positive; these sums
    decrease for a reversible chain, so later ones are noise. Differences between chains count as
    correlation.

    Args:
        draws: one number per sample, at least 4 samples per chain.

    Examples:
        Four chains of independent samples, and the same chains after one of them is shifted:

        >>> draws = jax.random.normal(jax.random.key(0), (4, 1000))
        >>> bool(3500 < effective_sample_size(draws) < 4500)
        True
        >>> bool(effective_sample_size(draws.at[0].add(3.0)) < 50)
        True

    References: Geyer 1992, *Practical Markov chain Monte Carlo*.
    """
    _check_draws("effective_sample_size", draws)
    halves = _halves(draws)
    chains, n = halves.shape
    deviations = halves - jnp.mean(halves, axis=1, keepdims=True)
    spectrum = jnp.abs(jnp.fft.rfft(deviations, 2 * n, axis=1)) ** 2
    covariance = jnp.mean(jnp.fft.irfft(spectrum, 2 * n, axis=1)[:, :n], axis=0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + jnp.var(jnp.mean(halves, axis=1), ddof=1)
    correlation = (1 - (within - covariance) / total).at[0].set(1)
    pairs = jnp.sum(correlation[: n // 2 * 2].reshape(-1, 2), axis=1)
    pairs = jnp.where(jnp.cumprod(pairs > 0), pairs, 0)
    time = 2 * jnp.sum(jax.lax.cummin(pairs)) - 1
    # The effective size of antithetic chains can exceed the number of draws, up to this limit.
    num_draws = chains * n
    return jnp.minimum(num_draws / time, num_draws * jnp.log10(num_draws))


def _check_draws(caller, draws):
    if getattr(draws, "ndim", 0) != 2 or draws.shape[1] < 4 or not draws.shape[0]:
        raise InputError(
            f"{caller}: draws = {draws!r:.80}, expected an array [chains, draws] of at least 4 "
            f"draws"
        )


def _halves(draws):
    n = draws.shape[1] // 2
    return jnp.concatenate([draws[:, :n], draws[:, -n:]])


def _normal_scores(draws):
    """Return normal quantiles of ranks; equal draws have their mean rank."""
    flat = draws.ravel()
    ordered = jnp.sort(flat)
    first, after_last = (jnp.searchsorted(ordered, flat, side=side) for side in ("left", "right"))
    rank = (first + after_last + 1).astype(draws.dtype) / 2
    quantile = (rank - 0.375) / (flat.size + 0.25)
    return jax.scipy.special.ndtri(quantile).reshape(draws.shape)


def _ratio(draws):
    n = draws.shape[1]
    within = jnp.mean(jnp.var(draws, axis=1, ddof=1))
    between = jnp.var(jnp.mean(draws, axis=1), ddof=1)
    return jnp.sqrt((n - 1) / n + between / within)


class ChainState(NamedTuple):
    """State of a chain in whitened coordinates, as returned by the potential.

    Args:
        z: whitened coordinates.
        energy: potential energy.
        slope: gradient of the potential energy.
        excess: C(w) - C(w*).
        squared: |w - w*|^2.
    """

    z: Float[Array, " n"]
    energy: Float[Array, ""]
    slope: Float[Array, " n"]
    excess: Float[Array, ""]
    squared: Float[Array, ""]


class _Tuning(NamedTuple):
    """State of Nesterov's dual averaging of the log step size."""

    log_step: Float[Array, ""]
    averaged: Float[Array, ""]
    error: Float[Array, ""]
    step: Int[Array, ""]


def hamiltonian_monte_carlo(
    potential: Callable[[Float[Array, " n"]], ChainState],
    starts: Float[Array, "chains n"],
    key: Key[Array, ""],
    num_warmup: int,
    num_samples: int,
    num_integration_steps: int,
    report: Callable[[], Any] | None = None,
) -> tuple[Samples, Samples, Float[Array, ""], Float[Array, ""]]:
    """Draw samples with density ~ exp(-potential) by chains with one tuned step size.

    Args:
        potential: function that maps whitened coordinates to the state of a chain.
        starts: whitened coordinates of the starts of chains.
        key: random key for momenta, step sizes and acceptance.
        num_warmup: number of trajectories per chain in which the step size is tuned.
        num_samples: number of trajectories per chain after warmup, each of which gives one sample.
        num_integration_steps: number of steps per trajectory, each with one gradient.
        report: function that is called on the host after each trajectory of all chains.

    Returns:
        `excess` and `squared` of all samples, the acceptance rate, and the step size.
    """
    states = jax.vmap(potential)(starts)

    def advance(states, key, step_size):
        """Return states after one trajectory per chain, and acceptance probabilities."""
        if report is not None:
            jax.debug.callback(report)

        def of_chain(state, key):
            return _trajectory(potential, state, key, step_size, num_integration_steps)

        return jax.vmap(of_chain)(states, jax.random.split(key, len(starts)))

    def warm(carry, key):
        states, tuning = carry
        states, acceptance = advance(states, key, jnp.exp(tuning.log_step))
        return (states, _update_tuning(tuning, acceptance)), None

    def draw(states, key):
        states, acceptance = advance(states, key, step_size)
        return states, (states.excess, states.squared, jnp.mean(acceptance))

    key_warmup, key_samples = jax.random.split(key)
    zero = jnp.zeros((), starts.dtype)
    tuning = _Tuning(zero, zero, zero, jnp.ones((), jnp.int32))
    keys = jax.random.split(key_warmup, num_warmup)
    (states, tuning), _ = jax.lax.scan(warm, (states, tuning), keys)
    step_size = jnp.exp(tuning.averaged)
    keys = jax.random.split(key_samples, num_samples)
    _, (excess, squared, acceptance) = jax.lax.scan(draw, states, keys)
    return excess.T, squared.T, jnp.mean(acceptance), step_size


def _trajectory(potential, state, key, step_size, num_integration_steps):
    """Run one leapfrog trajectory, with a random step size to avoid periodic orbits."""
    key_momentum, key_length, key_accept = jax.random.split(key, 3)
    dtype = state.z.dtype
    step = step_size * jax.random.uniform(key_length, (), dtype, 0.3, 1.0)
    momentum = jax.random.normal(key_momentum, state.z.shape, dtype)

    def leapfrog(_, carry):
        state, p = carry
        p = p - step / 2 * state.slope
        z = state.z + step * p
        state = potential(z)
        return state, p - step / 2 * state.slope

    proposed, p = jax.lax.fori_loop(0, num_integration_steps, leapfrog, (state, momentum))
    change = state.energy - proposed.energy + (momentum @ momentum - p @ p) / 2
    probability = jnp.where(jnp.isnan(change), 0, jnp.exp(jnp.minimum(change, 0)))
    accept = jax.random.uniform(key_accept, (), dtype) < probability
    # A chain whose cost is not finite accepts any finite cost.
    accept |= ~jnp.isfinite(state.energy) & jnp.isfinite(proposed.energy)
    return jax.tree.map(lambda new, old: jnp.where(accept, new, old), proposed, state), probability


def _update_tuning(tuning, acceptance):
    """Update the step size by one step of dual averaging.

    Acceptance is averaged over chains by the harmonic mean, which one stuck chain makes small.

    References: Hoffman and Gelman 2014, *The No-U-Turn sampler*, 3.2.
    """
    t = tuning.step.astype(acceptance.dtype)
    mean = 1 / jnp.mean(1 / jnp.maximum(acceptance, 0.1))
    weight = 1 / (t + 10)
    error = (1 - weight) * tuning.error + weight * (TARGET_ACCEPTANCE - mean)
    log_step = math.log(10) - jnp.sqrt(t) / 0.05 * error
    decay = t**-0.75
    averaged = decay * log_step + (1 - decay) * tuning.averaged
    return _Tuning(log_step, averaged, error, tuning.step + 1)
