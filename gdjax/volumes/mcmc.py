"""Convergence of Markov chains: R-hat and effective sample size.

    R-hat = sqrt(variance of all samples / mean variance within a chain),   1 where chains agree
    effective sample size = samples / (1 + 2 sum of autocorrelations)

Each chain is cut into halves, so that a chain that has not mixed disagrees with itself. Four chains
of independent samples, and the same with one of them elsewhere:

>>> draws = jax.random.normal(jax.random.key(0), (4, 1000))
>>> away = draws.at[0].add(3.0)
>>> bool(rhat(draws) < 1.01), bool(rhat(away) > 1.1)
(True, True)
>>> bool(3500 < effective_sample_size(draws) < 4500), bool(effective_sample_size(away) < 50)
(True, True)

References: Vehtari et al. 2021, *Rank-normalization, folding, and localization: an improved R-hat*.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def rhat(draws: Float[Array, "chains draws"]) -> Float[Array, ""]:
    """Return the rank-normalized split R-hat: 1 if chains agree, above 1.01 if not quite.

    Samples are replaced by normal scores of their ranks, so that heavy tails do no harm, and of
    their distances from the median, so that it responds to chains which differ in width, too.

    Args:
        draws: one number per sample, at least 4 of each chain.

    Returns:
        The larger of both; +inf if the samples never change.
    """
    halves = _halves(draws)
    folded = jnp.abs(halves - jnp.median(halves))
    both = jnp.maximum(_ratio(_normal_scores(halves)), _ratio(_normal_scores(folded)))
    return jnp.where(jnp.max(halves) > jnp.min(halves), both, jnp.inf)


def effective_sample_size(draws: Float[Array, "chains draws"]) -> Float[Array, ""]:
    """Return the number of independent samples whose mean has the same standard error.

    Autocorrelations are summed up to where the sums of neighboring pairs, which fall for a
    reversible chain, are lost in noise. Differences between chains count as correlation.

    Args:
        draws: one number per sample, at least 4 of each chain.

    References: Geyer 1992, *Practical Markov chain Monte Carlo*.
    """
    halves = _halves(draws)
    chains, n = halves.shape
    away = halves - jnp.mean(halves, axis=1, keepdims=True)
    spectrum = jnp.abs(jnp.fft.rfft(away, 2 * n, axis=1)) ** 2
    covariance = jnp.mean(jnp.fft.irfft(spectrum, 2 * n, axis=1)[:, :n], axis=0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + jnp.var(jnp.mean(halves, axis=1), ddof=1)
    correlation = (1 - (within - covariance) / total).at[0].set(1)
    pairs = jnp.sum(correlation[: n // 2 * 2].reshape(-1, 2), axis=1)
    pairs = jnp.where(jnp.cumprod(pairs > 0), pairs, 0)
    time = 2 * jnp.sum(jax.lax.cummin(pairs)) - 1
    # Antithetic chains can be worth more than their draws, by no more than this.
    draws_at_all = chains * n
    return jnp.minimum(draws_at_all / time, draws_at_all * jnp.log10(draws_at_all))


def _halves(draws):
    n = draws.shape[1] // 2
    return jnp.concatenate([draws[:, :n], draws[:, -n:]])


def _normal_scores(draws):
    """Return normal quantiles of ranks; equal draws share their middle rank."""
    flat = draws.ravel()
    ordered = jnp.sort(flat)
    first, behind = (jnp.searchsorted(ordered, flat, side=side) for side in ("left", "right"))
    rank = (first + behind + 1).astype(draws.dtype) / 2
    quantile = (rank - 0.375) / (flat.size + 0.25)
    return jax.scipy.special.ndtri(quantile).reshape(draws.shape)


def _ratio(draws):
    n = draws.shape[1]
    within = jnp.mean(jnp.var(draws, axis=1, ddof=1))
    between = jnp.var(jnp.mean(draws, axis=1), ddof=1)
    return jnp.sqrt((n - 1) / n + between / within)
