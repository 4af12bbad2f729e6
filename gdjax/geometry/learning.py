"""How wide a valley is as a power of the temperature: the local learning coefficient.

    Z(b) = integral of exp(-b (C(w) - C(w*)) - localisation |w - w*|^2 / 2) dw ~ b^-coefficient
    coefficient = -d log Z / d log b = b E[C(w) - C(w*)],   w drawn from that density

b is the inverse temperature, n / log n for a cost that is a mean over n samples. A bowl in d
dimensions has d/2, and whatever is flatter has less: w^4 has 1/4. In two dimensions:

>>> bowl = lambda w: w @ w / 2
>>> found = learning_coefficient(
...     bowl, jnp.zeros(2), key=jax.random.key(0), inverse_temperature=1e4, draws=500
... )
>>> Sampling(int(found.status)).label, bool(abs(found.coefficient - 1) < 4 * found.standard_error)
('agreed', True)

The draws are those of Hamiltonian Monte Carlo: trajectories with the gradient, accepted or refused
by Metropolis' rule, so that no length of step biases the mean, as it does for Langevin dynamics
without that rule. Chains begin at distances between 0 and that of the prior, and what they do not
agree on is no number.

Source: Watanabe 2009, *Algebraic Geometry and Statistical Learning Theory*; Lau et al. 2023,
*The local learning coefficient*, arXiv 2308.12108; Neal 2011, *MCMC using Hamiltonian dynamics*.
"""

import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PyTree, ScalarLike

from gdjax.errors import InputError
from gdjax.geometry.chains import disagreement, effective_draws
from gdjax.geometry.higher_orders import derivatives
from gdjax.geometry.products import raveled
from gdjax.geometry.whitening import Whitening
from gdjax.problems.problem import Problem, as_problem
from gdjax.summaries import fields

CHAINS = 16
DRAWS = 1000
WARM_UP = 500
LEAPS = 16  # steps of a trajectory
ACCEPTED = 0.8  # share of trajectories that the length of a step is chosen for
AGREE = 1.05  # the largest R-hat of chains that agree
FEW = 100  # effective draws below which nothing is said


class Sampling(IntEnum):
    """Whether chains of draws came to one answer.

    - DISAGREED: they are in different places, or still on their way: more draws, more leaps, a
      stronger localisation, or a whitening; see `LearningCoefficient.of_chains`.
    - TOO_FEW: they agree, but are worth fewer than 100 independent draws.
    - NOT_FINITE: the cost at w* is not finite, or no trajectory was ever accepted.
    """

    AGREED = 0
    DISAGREED = 1
    TOO_FEW = 2
    NOT_FINITE = 3

    @property
    def label(self) -> str:
        """For tables: "too few"."""
        return self.name.lower().replace("_", " ")


class LearningCoefficient(NamedTuple):
    """A local learning coefficient, and how much of it to believe.

    Args:
        coefficient: b E[C(w) - C(w*)]; NaN unless `status` is AGREED.
        standard_error: of it, from the effective draws; NaN likewise.
        of_chains: what each chain alone would say.
        effective_draws: of the cost, all chains together.
        disagreement: the larger R-hat of two: of the cost, and of the distance from w*.
        accepted: share of trajectories that Metropolis' rule accepted.
        step: length of a leap, in whitened coordinates.
        lowest: least C(w) - C(w*) of all draws. Clearly below 0, w* is not the lowest point of
            the valley that was measured.
        distance: root mean square of |w - w*|.
        status: a `Sampling`.
    """

    coefficient: Float[Array, ""]
    standard_error: Float[Array, ""]
    of_chains: Float[Array, " chains"]
    effective_draws: Float[Array, ""]
    disagreement: Float[Array, ""]
    accepted: Float[Array, ""]
    step: Float[Array, ""]
    lowest: Float[Array, ""]
    distance: Float[Array, ""]
    status: Int[Array, ""]

    __repr__ = fields


class _State(NamedTuple):
    """Where a chain is, in whitened coordinates."""

    z: Float[Array, " n"]
    energy: Float[Array, ""]
    slope: Float[Array, " n"]
    excess: Float[Array, ""]  # C(w) - C(w*)
    squared: Float[Array, ""]  # |w - w*|^2


class _Tuning(NamedTuple):
    """Nesterov's dual averaging of log step."""

    log_step: Float[Array, ""]
    averaged: Float[Array, ""]
    missed: Float[Array, ""]
    turn: Int[Array, ""]


def learning_coefficient(
    problem: Problem | Callable,
    params: PyTree,
    *,
    key: Key[Array, ""],
    data: PyTree = None,
    inverse_temperature: ScalarLike | None = None,
    localisation: ScalarLike = 1.0,
    whitening: Whitening | None = None,
    chains: int = CHAINS,
    draws: int = DRAWS,
    warm_up: int = WARM_UP,
    leaps: int = LEAPS,
) -> LearningCoefficient:
    """The local learning coefficient at a minimum, from many chains as one program.

        b E[C(w) - C(w*)],   w ~ exp(-b C(w) - localisation |w - w*|^2 / 2)

    It can be jitted and mapped over minima by `jax.vmap`.

    Args:
        problem: a Problem; or a cost, `cost(params, batch)` with data, `cost(params)` without.
        params: the minimum w*.
        key: for starts, momenta and acceptance.
        data: instead of the problem's own.
        inverse_temperature: b; None takes n / log n for n samples.
        localisation: precision of the Gaussian prior around w*, in the units of the parameters: how
            far away still counts as this valley.
        whitening: coordinates in which the valley is round, see `whitened`; those of the parameters
            where None. It changes how fast chains go, not what they sample.
        chains: at least 2.
        draws: of each chain, after the warm-up; at least 8.
        warm_up: trajectories in which the step is tuned, and which are thrown away.
        leaps: steps of a trajectory, each a gradient.

    Returns:
        The coefficient, with status: where chains disagree it is NaN.

    Raises:
        InputError: no data to take the temperature from; a temperature or localisation that is not
            above 0; too few chains, draws or leaps.

    Source: Lau et al. 2023, arXiv 2308.12108.
    """
    problem = as_problem(problem, data)
    b = _inverse_temperature(problem, inverse_temperature)
    _check(localisation=localisation, chains=chains, draws=draws, leaps=leaps, warm_up=warm_up)
    flat, unravel = raveled(params)
    b, localisation = (jnp.asarray(value, flat.dtype) for value in (b, localisation))
    at = derivatives(problem, unravel)
    lowest, _ = at.gradient(flat)
    scale = whitening
    if scale is None:
        scale = Whitening(jnp.broadcast_to(localisation**-0.5, flat.shape))

    def potential(z):
        away = scale.apply(z)
        cost, g = at.gradient(flat + away)
        excess, squared = cost - lowest, away @ away
        energy = b * excess + localisation * squared / 2
        return _State(z, energy, scale.transposed(b * g + localisation * away), excess, squared)

    key_start, key_chains = jax.random.split(key)
    # From w* itself to where the prior would be: chains that agree have come from far and near.
    far = jnp.linspace(0, 1, chains, dtype=flat.dtype)[:, None]
    normal = jax.random.normal(key_start, (chains, flat.size), flat.dtype)
    starts = jax.vmap(scale.solve)(far * normal / jnp.sqrt(localisation))
    excess, squared, accepted, step = _drawn(potential, starts, key_chains, warm_up, draws, leaps)
    return _told(b * excess, squared, accepted, step, b, lowest)


def _drawn(potential, starts, key, warm_up, draws, leaps):
    """C(w) - C(w*) and |w - w*|^2 of all draws [chains, draws], the share accepted, the step."""
    states = jax.vmap(potential)(starts)

    def warm(carry, key):
        states, tuning = carry
        states, accepted = _trajectories(potential, states, key, jnp.exp(tuning.log_step), leaps)
        return (states, _tuned(tuning, accepted)), None

    def draw(states, key):
        states, accepted = _trajectories(potential, states, key, step, leaps)
        return states, (states.excess, states.squared, jnp.mean(accepted))

    key_warm, key_draws = jax.random.split(key)
    zero = jnp.zeros((), starts.dtype)
    tuning = _Tuning(zero, zero, zero, jnp.ones((), jnp.int32))
    warmed, _ = jax.lax.scan(warm, (states, tuning), jax.random.split(key_warm, warm_up))
    states, tuning = warmed
    step = jnp.exp(tuning.averaged)
    _, (excess, squared, accepted) = jax.lax.scan(draw, states, jax.random.split(key_draws, draws))
    return excess.T, squared.T, jnp.mean(accepted), step


def _told(values, squared, accepted, step, b, lowest):
    """The mean of b (C - C*) over draws [chains, draws], and whether it can be said."""
    effective = effective_draws(values)
    apart = jnp.maximum(disagreement(values), disagreement(squared))
    status = jnp.select(
        [~jnp.isfinite(lowest) | (accepted == 0), ~(apart <= AGREE), ~(effective >= FEW)],
        [jnp.int32(s) for s in (Sampling.NOT_FINITE, Sampling.DISAGREED, Sampling.TOO_FEW)],
        jnp.int32(Sampling.AGREED),
    )
    agreed = status == Sampling.AGREED
    error = jnp.std(values, ddof=1) / jnp.sqrt(effective)
    return LearningCoefficient(
        coefficient=jnp.where(agreed, jnp.mean(values), jnp.nan),
        standard_error=jnp.where(agreed, error, jnp.nan),
        of_chains=jnp.mean(values, axis=1),
        effective_draws=effective,
        disagreement=apart,
        accepted=accepted,
        step=step,
        lowest=jnp.min(values) / b,
        distance=jnp.sqrt(jnp.mean(squared)),
        status=status,
    )


def _trajectories(potential, states, key, step, leaps):
    """A trajectory of each chain, accepted or not, and with which probability."""
    keys = jax.random.split(key, len(states.energy))
    return jax.vmap(lambda state, key: _trajectory(potential, state, key, step, leaps))(
        states, keys
    )


def _trajectory(potential, state, key, step, leaps):
    """Leapfrog with a random length of step: a fixed one can come back to where it began."""
    key_momentum, key_length, key_accept = jax.random.split(key, 3)
    dtype = state.z.dtype
    step = step * jax.random.uniform(key_length, (), dtype, 0.3, 1.0)
    momentum = jax.random.normal(key_momentum, state.z.shape, dtype)

    def leap(_, at):
        state, p = at
        p = p - step / 2 * state.slope
        z = state.z + step * p
        there = potential(z)
        return there, p - step / 2 * there.slope

    proposed, p = jax.lax.fori_loop(0, leaps, leap, (state, momentum))
    change = state.energy - proposed.energy + (momentum @ momentum - p @ p) / 2
    probability = jnp.where(jnp.isnan(change), 0, jnp.exp(jnp.minimum(change, 0)))
    accept = jax.random.uniform(key_accept, (), dtype) < probability
    # A chain that began where the cost is not finite takes whatever is.
    accept |= ~jnp.isfinite(state.energy) & jnp.isfinite(proposed.energy)
    return jax.tree.map(lambda new, old: jnp.where(accept, new, old), proposed, state), probability


def _tuned(tuning, accepted):
    """One turn of dual averaging; the harmonic mean minds the chain that is stuck.

    Source: Hoffman and Gelman 2014, *The No-U-Turn sampler*, 3.2.
    """
    t = tuning.turn.astype(accepted.dtype)
    mean = 1 / jnp.mean(1 / jnp.maximum(accepted, 0.1))
    weight = 1 / (t + 10)
    missed = (1 - weight) * tuning.missed + weight * (ACCEPTED - mean)
    log_step = math.log(10) - jnp.sqrt(t) / 0.05 * missed
    decay = t**-0.75
    averaged = decay * log_step + (1 - decay) * tuning.averaged
    return _Tuning(log_step, averaged, missed, tuning.turn + 1)


def _inverse_temperature(problem, given):
    if given is None:
        if problem.samples < 3:
            raise InputError(
                f"learning_coefficient: inverse_temperature = None takes n / log n, but the "
                f"problem has {problem.samples} samples; give inverse_temperature"
            )
        return problem.samples / math.log(problem.samples)
    _check(inverse_temperature=given)
    return given


LEAST = {"chains": 2, "draws": 8, "leaps": 1, "warm_up": 1}


def _check(**values):
    for name, value in values.items():
        if isinstance(value, Tracer):
            continue
        if name in LEAST and value < LEAST[name]:
            raise InputError(
                f"learning_coefficient: {name} = {value}, expected at least {LEAST[name]}"
            )
        if name not in LEAST and not 0 < value < math.inf:
            raise InputError(f"learning_coefficient: {name} = {value}, expected a number above 0")
