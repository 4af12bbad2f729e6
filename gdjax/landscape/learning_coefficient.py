"""The local learning coefficient of a minimum.

    Z(b) = integral of exp(-b (C(w) - C(w*)) - localization |w - w*|^2 / 2) dw
         ~ b^-llc (log b)^(m - 1)
    coefficient(b) = -d log Z / d log b = b E[C(w) - C(w*)] ~ llc - (m - 1) / (log b + a)

Here b is the inverse temperature, by default n / log n for a cost that is a mean over n samples.
The multiplicity m is a whole number. A bowl in d dimensions has llc = d/2 and m = 1, and flatter
minima have a smaller llc, such as 1/4 for w^4. The coefficient at a temperature is the measured
quantity. If m > 1, it converges slowly to llc, and m cannot be estimated from a few orders of
magnitude of b, so `local_learning_coefficient` gives an interval of llc over several values of m.

Samples are drawn by Hamiltonian Monte Carlo. Trajectories that follow the gradient are accepted or
rejected by the Metropolis rule, so the step size does not bias the mean, in contrast to Langevin
dynamics without this rule. Chains start at distances from w* between 0 and the width of the prior.
If they disagree, the result is NaN.

References: Watanabe 2009, *Algebraic Geometry and Statistical Learning Theory*; Lau et al. 2023,
*The local learning coefficient*, arXiv 2308.12108; Neal 2011, *MCMC using Hamiltonian dynamics*.
"""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key, PyTree, ScalarLike
from scipy import stats

from gdjax.base import progress
from gdjax.base.arguments import (
    MAX_COUNT,
    check_limits,
    check_numbers,
    check_whole,
    is_traced,
)
from gdjax.base.errors import InputError
from gdjax.base.keys import check_key
from gdjax.base.limits import Positive
from gdjax.base.reprs import fields, fields_with
from gdjax.base.status import Status
from gdjax.curvature.directional_derivatives import directional_derivatives
from gdjax.landscape.mcmc import (
    MAX_WHITENED,
    ChainState,
    Whitening,
    effective_sample_size,
    hamiltonian_monte_carlo,
    mean_hessian_whitening,
    rhat,
)
from gdjax.problems.checks import check_params, ravel_params
from gdjax.problems.facts import problem_at
from gdjax.problems.problem import Problem

NUM_CHAINS = 16
NUM_SAMPLES = 1000
NUM_WARMUP = 500
NUM_INTEGRATION_STEPS = 64
MAX_RHAT = 1.05  # largest R-hat of the cost for chains that agree
# In a curved valley, distances from w* mix more slowly than costs, which does not bias the mean of
# the cost. The R-hat of chains in separate wells is well above this limit.
MAX_DISTANCE_RHAT = 1.2
MIN_SAMPLE_SIZE = 100  # effective sample size below which the coefficient is NaN

SMALLEST_COUNTS = {"num_chains": 2, "num_samples": 8, "num_warmup": 1, "num_integration_steps": 1}
TEMPERATURE_FACTORS = (0.1, 10**-0.5, 1.0, 10**0.5, 10.0)
# The extrapolation assumes multiplicities 1 to 4. For m > 1, log b + a at the hottest temperature
# lies between 1/2 and 16; for m = 1 the correction is a power of b.
POWERS = (0.2, 0.5, 1.0)
OFFSETS = np.geomspace(0.5, 16, 40)
POWER_SIZE = 0.5  # standard deviation of the factor of a power, relative to the mean coefficient
MODEL_ERROR = 0.01  # error of the formulas at finite b, relative to the coefficient
TAIL = 0.01  # share of chi squared of a correct formula above which formulas are rejected


class SamplingStatus(Status):
    """Whether chains of samples agree.

    - DISAGREED: the chains are in different regions, or have not mixed. Use more samples, more
      integration steps or a stronger localization; see
      `FiniteTemperatureCoefficient.chain_coefficients`.
    - TOO_FEW: the chains agree, but their effective sample size is below 100.
    - NOT_FINITE: the cost at w* is not finite, or no trajectory was accepted.
    """

    AGREED = 0
    DISAGREED = 1
    TOO_FEW = 2
    NOT_FINITE = 3


class FiniteTemperatureCoefficient(NamedTuple):
    """The learning coefficient at one temperature, with diagnostics of the chains.

    Args:
        coefficient: b E[C(w) - C(w*)]; NaN unless `status` is AGREED.
        standard_error: standard error of the coefficient, from the effective sample size; NaN
            unless `status` is AGREED.
        chain_coefficients: mean over the samples of each chain alone.
        effective_sample_size: effective sample size of the cost over all chains.
        rhat: R-hat of the cost, close to 1 if the chains agree.
        distance_rhat: R-hat of the squared distance from w*.
        acceptance_rate: mean probability with which the Metropolis rule accepts a trajectory.
        step_size: length of an integration step, in whitened coordinates.
        lowest: smallest C(w) - C(w*) of all samples. If it is clearly below 0, w* is not the lowest
            point of the valley that was sampled.
        distance: root mean square of |w - w*|.
        status: a `SamplingStatus`.
        samples: b (C(w) - C(w*)) of each sample, whose mean is the coefficient.
        squared_distances: |w - w*|^2 of each sample.
    """

    coefficient: Float[Array, ""]
    standard_error: Float[Array, ""]
    chain_coefficients: Float[Array, " chains"]
    effective_sample_size: Float[Array, ""]
    rhat: Float[Array, ""]
    distance_rhat: Float[Array, ""]
    acceptance_rate: Float[Array, ""]
    step_size: Float[Array, ""]
    lowest: Float[Array, ""]
    distance: Float[Array, ""]
    status: Int[Array, ""]
    samples: Float[Array, "chains samples"] | None = None
    squared_distances: Float[Array, "chains samples"] | None = None

    __repr__, _repr_html_ = fields_with(status=SamplingStatus)

    @property
    def status_name(self) -> str:
        """The status in words, such as "too few"."""
        return SamplingStatus(int(self.status)).label


class LocalLearningCoefficient(NamedTuple):
    """The local learning coefficient, extrapolated from several temperatures.

    The measured quantities are the coefficients at the temperatures. They rarely determine the form
    of the extrapolation, and llc may be anywhere between `low` and `high`.

    Args:
        llc: center of the interval; NaN if the chains agree at fewer than three temperatures.
        low: lower end of the union of 95 % intervals, over all forms that fit the coefficients.
        high: upper end of this union.
        inverse_temperatures: inverse temperatures at which samples were drawn.
        at_temperatures: coefficients at the temperatures, which the leading axis of each array
            indexes; None from `extrapolate`.
    """

    llc: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    inverse_temperatures: Float[Array, " temperatures"]
    at_temperatures: FiniteTemperatureCoefficient | None = None

    __repr__, _repr_html_ = fields


def local_learning_coefficient(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    inverse_temperatures: Sequence | ArrayLike | None = None,
    localization: ScalarLike = 1.0,
    whitening: Whitening | None = None,
    num_chains: int = NUM_CHAINS,
    num_samples: int = NUM_SAMPLES,
    num_warmup: int = NUM_WARMUP,
    num_integration_steps: int = NUM_INTEGRATION_STEPS,
) -> LocalLearningCoefficient:
    """Estimate the local learning coefficient at a minimum.

        coefficient(b) = llc - (m - 1) / (log b + a)   for m = 2, 3, 4,   llc + c b^-p   for m = 1

    The number of gradients is that of temperatures times chains times trajectories times
    integration steps, 7.7 million by default, and a progress bar shows completed trajectories. One
    program draws samples at several temperatures, and `extrapolate` estimates the limit of zero
    temperature. The function can be jitted and mapped over minima by `jax.vmap`.

    Args:
        problem, params, key: as for `finite_temperature_coefficient`.
        inverse_temperatures: at least three inverse temperatures, ascending, over two or more
            orders of magnitude; None means 0.1, 0.316, 1, 3.16 and 10 times n / log n for n
            samples. The smallest must be large enough that the cost confines the samples much more
            than the localization does.
        localization, whitening, num_chains, num_samples, num_warmup, num_integration_steps: as for
            `finite_temperature_coefficient`.

    Returns:
        The interval and the measured coefficients. `at_temperatures.status` has a `SamplingStatus`
        for each temperature; coefficients of temperatures at which the chains disagree are NaN and
        are not used. With fewer than three other temperatures, the interval is NaN.

    Examples:
        A bowl in two dimensions, with few samples:

        >>> counts = {"num_chains": 4, "num_warmup": 50, "num_integration_steps": 4}
        >>> key, b = jax.random.key(0), [1e2, 1e3, 1e4]
        >>> estimate = local_learning_coefficient(
        ...     lambda w: w @ w / 2, jnp.zeros(2), key=key, inverse_temperatures=b, **counts
        ... )
        >>> bool(estimate.low < 1 < estimate.high)
        True

    References: Watanabe 2009, theorem 6.7; Lau et al. 2023, arXiv 2308.12108.
    """
    problem = problem_at(problem, params)
    sampling = _Sampling(
        localization, whitening, num_chains, num_samples, num_warmup, num_integration_steps
    )
    sampling.check("local_learning_coefficient", params, key)
    if inverse_temperatures is None:
        middle = _default_temperature(problem, "local_learning_coefficient: inverse_temperatures")
        inverse_temperatures = [factor * middle for factor in TEMPERATURE_FACTORS]
    argument = "local_learning_coefficient: inverse_temperatures"
    check_numbers(argument, inverse_temperatures, Positive, ndim=1)
    if np.size(inverse_temperatures) < 3 or np.any(np.diff(inverse_temperatures) <= 0):
        raise InputError(
            f"{argument} = {inverse_temperatures!r:.80}, expected at least three ascending numbers"
        )
    temperatures = jnp.asarray(inverse_temperatures, ravel_params(params)[0].dtype)
    with sampling.progress((problem, params, key)) as report:
        sample = partial(sampling.sample, problem, params, report)
        estimates = jax.vmap(sample)(temperatures, jax.random.split(key, len(temperatures)))
    limit = extrapolate(temperatures, estimates.coefficient, estimates.standard_error)
    return limit._replace(at_temperatures=estimates)


def extrapolate(
    inverse_temperatures: Float[ArrayLike, " temperatures"],
    coefficients: Float[ArrayLike, " temperatures"],
    standard_errors: Float[ArrayLike, " temperatures"],
) -> LocalLearningCoefficient:
    """Extrapolate coefficients at several temperatures to zero temperature.

        coefficient(b) = llc - (m - 1) / (log b + a)   for m = 2, 3, 4
        coefficient(b) = llc + c b^-p                  for m = 1, p = 1/5, 1/2, 1

    The interval is the union of the 95 % intervals of llc for all formulas, including a and p, that
    a chi-squared test at 1 % does not reject. The formulas have an assumed error of one percent of
    each coefficient, and all errors are increased if no formula fits.

    Args:
        inverse_temperatures: inverse temperatures b, above 0.
        coefficients: b E[C(w) - C(w*)] at each temperature; NaN if unknown.
        standard_errors: standard errors of the coefficients.

    Examples:
        Coefficients without noise for m = 2:

        >>> b = jnp.geomspace(1e2, 1e6, 5)
        >>> limit = extrapolate(b, 3.5 - 1 / (jnp.log(b) - 0.75), jnp.full(5, 0.01))
        >>> round(float(limit.low), 1), round(float(limit.high), 1)
        (3.4, 3.7)
    """
    check_numbers("extrapolate: inverse_temperatures", inverse_temperatures, ndim=1)
    shape = jnp.shape(inverse_temperatures)
    check_numbers("extrapolate: coefficients", coefficients, shape=shape)
    check_numbers("extrapolate: standard_errors", standard_errors, shape=shape)
    b, y, error = map(jnp.asarray, (inverse_temperatures, coefficients, standard_errors))
    known = jnp.isfinite(y) & jnp.isfinite(error)
    y, error = jnp.where(known, y, 0), jnp.where(known, error, 1)
    precision = known / (error**2 + (MODEL_ERROR * y) ** 2)
    logs = jnp.log(b / jnp.min(b))
    center = jnp.sum(precision * y) / jnp.maximum(jnp.sum(precision), 1e-30)
    y = jnp.where(known, y - center, 0)  # smaller numbers reduce rounding
    fixed, free = _formulas(logs)
    size = POWER_SIZE * jnp.abs(center)

    def fit(precision):
        """Return mean and variance of llc, and chi squared, of each formula."""
        z = y[None] + fixed
        square, first = free**2 @ precision, free @ precision
        shrink = size**2 / (1 + size**2 * square)  # the size of c is integrated out
        cross = (free * z) @ precision
        information = jnp.sum(precision) - shrink * first**2
        mean = (z @ precision - shrink * first * cross) / information
        chi = z**2 @ precision - shrink * cross**2 - mean**2 * information
        return mean, 1 / information, chi

    freedom = jnp.maximum(jnp.sum(known) - 2, 1)
    misfit = jnp.min(fit(precision)[2]) / freedom
    mean, variance, chi = fit(precision / jnp.maximum(misfit, 1))
    limits = jnp.asarray(stats.chi2.isf(TAIL, np.arange(1, b.size + 1)), chi.dtype)
    fits = chi <= limits[freedom - 1]
    width = stats.norm.isf(0.025) * jnp.sqrt(variance)
    low = center + jnp.min(jnp.where(fits, mean - width, jnp.inf))
    high = center + jnp.max(jnp.where(fits, mean + width, -jnp.inf))
    low, high = (jnp.where(jnp.sum(known) >= 3, end, jnp.nan) for end in (low, high))
    return LocalLearningCoefficient((low + high) / 2, low, high, inverse_temperatures=b)


def _formulas(logs):
    """Return the fixed and the free correction of each formula."""
    powers, offsets = jnp.asarray(POWERS, logs.dtype), jnp.asarray(OFFSETS, logs.dtype)
    free = jnp.exp(-jnp.outer(powers, logs))
    fixed = [(m - 1) / (logs[None] + offsets[:, None]) for m in (2, 3, 4)]
    none = jnp.zeros((len(fixed) * len(OFFSETS), logs.size), logs.dtype)
    return jnp.concatenate([jnp.zeros_like(free), *fixed]), jnp.concatenate([free, none])


def finite_temperature_coefficient(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    inverse_temperature: ScalarLike | None = None,
    localization: ScalarLike = 1.0,
    whitening: Whitening | None = None,
    num_chains: int = NUM_CHAINS,
    num_samples: int = NUM_SAMPLES,
    num_warmup: int = NUM_WARMUP,
    num_integration_steps: int = NUM_INTEGRATION_STEPS,
) -> FiniteTemperatureCoefficient:
    """Estimate the learning coefficient at one temperature, from many chains.

        b E[C(w) - C(w*)],   w ~ exp(-b C(w) - localization |w - w*|^2 / 2)

    This coefficient is often reported as the local learning coefficient, from which it differs by
    about (m - 1) / log b if the multiplicity m is above 1. The function can be jitted and mapped
    over minima by `jax.vmap`.

    Args:
        problem: a Problem or a cost `cost(params)`.
        params: the minimum w*.
        key: random key for starts, momenta and acceptance.
        inverse_temperature: inverse temperature b; None means n / log n for n samples.
        localization: precision of the Gaussian prior around w*, in the units of the parameters. It
            determines the size of the region that is sampled.
        whitening: coordinates in which the valley is round. They affect how fast chains mix, but
            not the distribution of samples. None means those of the mean curvature at the starts of
            the chains (`mean_hessian_whitening`) for up to 500 parameters, and the original
            coordinates for more parameters.
        num_chains: number of chains, at least 2.
        num_samples: number of samples per chain after warmup, at least 8.
        num_warmup: number of trajectories per chain in which the step size is tuned; they are
            discarded.
        num_integration_steps: number of steps per trajectory, each with one gradient.

    Returns:
        The coefficient with diagnostics; it is NaN unless its `status` is AGREED.

    Examples:
        A bowl in two dimensions:

        >>> bowl = lambda w: w @ w / 2
        >>> estimate = finite_temperature_coefficient(
        ...     bowl, jnp.zeros(2), key=jax.random.key(0), inverse_temperature=1e4, num_samples=500
        ... )
        >>> SamplingStatus(int(estimate.status)).name
        'AGREED'
        >>> bool(abs(estimate.coefficient - 1) < 4 * estimate.standard_error)
        True

    References: Lau et al. 2023, arXiv 2308.12108.
    """
    problem = problem_at(problem, params)
    argument = "finite_temperature_coefficient: inverse_temperature"
    if inverse_temperature is None:
        inverse_temperature = _default_temperature(problem, argument)
    check_limits(argument, inverse_temperature, Positive)
    sampling = _Sampling(
        localization, whitening, num_chains, num_samples, num_warmup, num_integration_steps
    )
    sampling.check("finite_temperature_coefficient", params, key)
    with sampling.progress((problem, params, key)) as report:
        return sampling.sample(problem, params, report, inverse_temperature, key)


@dataclass(frozen=True)
class _Sampling:
    """Options of sampling, as in `finite_temperature_coefficient`."""

    localization: ScalarLike
    whitening: Whitening | None
    num_chains: int
    num_samples: int
    num_warmup: int
    num_integration_steps: int

    def check(self, caller, params, key):
        check_params(params)
        check_key(key)
        check_limits(f"{caller}: localization", self.localization, Positive)
        for name, smallest in SMALLEST_COUNTS.items():
            check_whole(f"{caller}: {name}", getattr(self, name), smallest, MAX_COUNT)

    @contextlib.contextmanager
    def progress(self, arguments):
        """Yield a function that advances a progress bar; None if no bar can be shown."""
        total = self.num_warmup + self.num_samples
        with progress.bar(total=total, unit="trajectory") as bar:
            traced = any(map(is_traced, jax.tree.leaves(arguments)))
            yield None if traced or bar.disable else bar.update
            if not traced:
                jax.effects_barrier()

    def sample(self, problem, params, report, inverse_temperature, key):
        """Return the coefficient at one temperature."""
        flat, unravel = ravel_params(params)
        b = jnp.asarray(inverse_temperature, flat.dtype)
        localization = jnp.asarray(self.localization, flat.dtype)
        at = directional_derivatives(problem, unravel)
        lowest, _ = at.gradient(flat)
        key_start, key_chains = jax.random.split(key)
        # Starts range from w* to the width of the prior, so that chains agree only if they have
        # mixed.
        radii = jnp.linspace(0, 1, self.num_chains, dtype=flat.dtype)[:, None]
        normal = jax.random.normal(key_start, (self.num_chains, flat.size), flat.dtype)
        starts = radii * normal / jnp.sqrt(localization)
        scale = self.whitening
        if scale is None and flat.size <= MAX_WHITENED:
            scale = mean_hessian_whitening(
                problem, unravel, flat[None] + starts, damping=localization / b
            )
            scale = scale._replace(scale=scale.scale / jnp.sqrt(b))
        elif scale is None:
            scale = Whitening(jnp.broadcast_to(localization**-0.5, flat.shape))

        def potential(z):
            offset = scale.apply(z)
            cost, g = at.gradient(flat + offset)
            excess, squared = cost - lowest, offset @ offset
            energy = b * excess + localization * squared / 2
            slope = scale.transposed(b * g + localization * offset)
            return ChainState(z, energy, slope, excess, squared)

        excess, squared, acceptance_rate, step_size = hamiltonian_monte_carlo(
            potential,
            jax.vmap(scale.solve)(starts),
            key_chains,
            self.num_warmup,
            self.num_samples,
            self.num_integration_steps,
            report,
        )
        return _summary(b * excess, squared, acceptance_rate, step_size, b, lowest)


def _summary(values, squared, acceptance_rate, step_size, b, lowest):
    """Return the mean of b (C - C*) over samples, and whether the chains agree."""
    effective = effective_sample_size(values)
    cost_rhat, distance_rhat = rhat(values), rhat(squared)
    agree = (cost_rhat <= MAX_RHAT) & (distance_rhat <= MAX_DISTANCE_RHAT)
    status = jnp.where(effective >= MIN_SAMPLE_SIZE, SamplingStatus.AGREED, SamplingStatus.TOO_FEW)
    status = jnp.where(agree, status, SamplingStatus.DISAGREED)
    finite = jnp.isfinite(lowest) & (acceptance_rate != 0)
    status = jnp.where(finite, status, SamplingStatus.NOT_FINITE).astype(jnp.int32)
    agreed = status == SamplingStatus.AGREED
    error = jnp.std(values, ddof=1) / jnp.sqrt(effective)
    return FiniteTemperatureCoefficient(
        coefficient=jnp.where(agreed, jnp.mean(values), jnp.nan),
        standard_error=jnp.where(agreed, error, jnp.nan),
        chain_coefficients=jnp.mean(values, axis=1),
        effective_sample_size=effective,
        rhat=cost_rhat,
        distance_rhat=distance_rhat,
        acceptance_rate=acceptance_rate,
        step_size=step_size,
        lowest=jnp.min(values) / b,
        distance=jnp.sqrt(jnp.mean(squared)),
        status=status,
        samples=values,
        squared_distances=squared,
    )


def _default_temperature(problem, argument):
    """Return n / log n for n samples."""
    if problem.samples < 3:
        raise InputError(
            f"{argument} = None means n / log n, but the problem has {problem.samples} samples; "
            f"pass numbers above 0"
        )
    return problem.samples / math.log(problem.samples)
