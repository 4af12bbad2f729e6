"""Random networks given that they fit some images, by restricted random walks.

    w' = sqrt(1 - s^2) w + s z,   z ~ N(0, I),   accepted if w' lies in the set A

A preconditioned Crank-Nicolson step leaves N(0, I) invariant for every fixed step size s. If it is
rejected outside A, it leaves N(0, I) given A invariant. Small sets are reached by a sequence
A_1, A_2, ..., each a subset of the previous one: the members of a population that lie in the next
set are resampled and then moved by such steps (subset simulation). The probability of the last set
is estimated by the product of the shares of members that lie in each next set.

References: Cotter, Roberts, Stuart and White 2013, *MCMC methods for functions*; Au and Beck 2001,
*Estimation of small failure probabilities in high dimensions by subset simulation*.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float, Key, ScalarLike

from .model import Config, accuracy, as_network, as_points, outputs, train

ACCEPTANCE = 0.3  # acceptance rate to which the step size is adapted
ADAPTATION = 0.2  # change of log(step size) per unit of difference from this rate
STEP_SIZES = (1e-3, 1.0)


class Population(NamedTuple):
    """A population of points in a set, and how it was reached.

    Args:
        points: points, approximately distributed as N(0, I) given the set.
        step_size: step size s, adapted to the acceptance rate.
        share: share of the previous population that lies in the set. If it is 0, the points need
            not lie in the set.
        acceptance_rate: share of accepted steps.
    """

    points: Float[Array, "members n"]
    step_size: Float[Array, ""]
    share: Float[Array, ""]
    acceptance_rate: Float[Array, ""]


def restrict(
    key: Key[Array, ""],
    points: Float[Array, "members n"],
    step_size: ScalarLike,
    is_inside: Callable[[Float[Array, "members n"]], Bool[Array, " members"]],
    steps: int,
) -> Population:
    """Return a population in a smaller set, after some steps, from points in a larger set."""
    key_rows, key_steps = jax.random.split(key)
    inside = is_inside(points)
    # Systematic resampling: each member in the set has nearly the same number of copies.
    members, inner = len(inside), jnp.sum(inside)
    place = (jnp.arange(members) + jax.random.uniform(key_rows)) * (inner / members)
    rows = jnp.argsort(~inside)[jnp.clip(place.astype(int), 0, jnp.maximum(inner - 1, 0))]

    def advance(carry, key):
        points, step_size = carry
        noise = jax.random.normal(key, points.shape, points.dtype)
        proposal = jnp.sqrt(1 - step_size**2) * points + step_size * noise
        accepted = is_inside(proposal)
        rate = jnp.mean(accepted)
        change = jnp.exp(ADAPTATION * (rate - ACCEPTANCE))
        moved = jnp.where(accepted[:, None], proposal, points)
        return (moved, jnp.clip(step_size * change, *STEP_SIZES)), rate

    first = (points[rows], jnp.asarray(step_size, points.dtype))
    (points, step_size), rates = jax.lax.scan(advance, first, jax.random.split(key_steps, steps))
    return Population(points, step_size, jnp.mean(inside), jnp.mean(rates))


def least_margin(points, x, y, count):
    """Return the smallest normalized margin of each network over the first `count` images.

        min_i y_i f(x_i) / (|W| |v|),   f(x) = v . relu(W x)

    It is positive if and only if the network fits these images, and does not depend on the scales
    of W and v.
    """
    # The other images are replaced by the first one, so that shapes do not depend on `count`.
    rows = jnp.where(jnp.arange(len(y)) < count, jnp.arange(len(y)), 0)
    first, second = as_network(points, points.shape[-1] // (x.shape[-1] + 1))
    size = jnp.sqrt(jnp.sum(first**2, axis=(-2, -1)) * jnp.sum(second**2, axis=-1))
    return jnp.min(outputs((first, second), x[rows]) * y[rows][None], axis=-1) / size


@jax.jit
def least_margins(points, sets, count):
    """Return the smallest margins over the first `count` images of each set."""
    return jax.vmap(least_margin, (0, 0, 0, None))(points, *sets, count)


@partial(jax.jit, static_argnames="steps")
def restrict_networks(key, points, step_sizes, sets, count, *, steps):
    """Return populations of networks that fit the first `count` images of each set.

    The points are populations in larger sets of networks, [sets, members, parameters].
    """

    def one(key, points, step_size, x, y):
        def is_inside(points):
            return least_margin(points, x, y, count) > 0

        return restrict(key, points, step_size, is_inside, steps)

    return jax.vmap(one)(jax.random.split(key, len(points)), points, step_sizes, *sets)


def sampled(config: Config, sets, everything, unseen) -> xr.Dataset:
    """Return accuracies of sampled networks and of descents, by set and number of images.

    The population is restricted to networks that fit two more images of their set at a time.
    """
    key = jax.random.fold_in(jax.random.key(0), config.blocks)
    key_prior, key = jax.random.split(key)
    parameters = config.hidden * (sets[0].shape[-1] + 1)
    points = jax.random.normal(key_prior, (config.sets, config.members, parameters))
    step_sizes, log_probability = jnp.ones(config.sets), np.zeros(config.sets)
    parts = []
    for k in range(2, config.most + 1, 2):
        key_steps, key_compare = jax.random.split(jax.random.fold_in(key, k))
        moves = config.moves
        population = restrict_networks(key_steps, points, step_sizes, sets, k, steps=moves)
        points, step_sizes = population.points, population.step_size
        with np.errstate(divide="ignore"):
            log_probability = log_probability + np.log(np.asarray(population.share, float))
        if k in config.images:
            part = compared(config, key_compare, population, k, sets, everything, unseen)
            part["log_probability"] = ("set", log_probability)
            parts.append(part.expand_dims(k=[k]))
    return xr.concat(parts, "k").transpose("set", "k", ...)


def compared(config, key, population: Population, k: int, sets, everything, unseen) -> xr.Dataset:
    """Return accuracies of sampled networks and of descents for one number of images.

    Sampled networks are compared with descents at their first fit, also with equal margins, and
    with descents at their end. Populations that start from the ends of descents, restricted to the
    same set of networks, test whether the steps are numerous enough.
    """
    hidden = config.hidden
    key_train, key_return, _ = jax.random.split(key, 3)
    first = tuple(one[:, :k] for one in sets)
    options: dict = {"count": config.trained, "hidden": hidden, "steps": config.steps}
    first_fit, end, fitted = train(key_train, first, config.learning_rate, **options)
    ends, step_sizes, moves = as_points(end), population.step_size, config.return_moves
    returned = restrict_networks(key_return, ends, step_sizes, sets, k, steps=moves)

    def margins(network):
        return np.asarray(least_margins(as_points(network), sets, k))

    def right(network):
        return np.asarray(accuracy(network, everything, unseen), float)

    def if_fitted(values):
        return np.where(fitted, values, np.nan)

    members = as_network(population.points, hidden)
    accuracy_of_members, margin_of_members = right(members), margins(members)
    margin_at_fit, at_end = margins(first_fit), right(end)
    margin_at_end = if_fitted(margins(end))
    matched = nearest(margin_of_members, accuracy_of_members, margin_at_fit)
    is_nonempty, is_returned = (np.asarray(one.share) > 0 for one in (population, returned))
    accuracy_returned = right(as_network(returned.points, hidden)).mean(axis=1)
    return xr.Dataset(
        {
            "sampled": ("set", np.where(is_nonempty, accuracy_of_members.mean(axis=1), np.nan)),
            "returned": ("set", np.where(is_returned, accuracy_returned, np.nan)),
            "fitted": (("set", "descent"), np.asarray(fitted)),
            "trained": (("set", "descent"), if_fitted(right(first_fit))),
            "trained_on": (("set", "descent"), if_fitted(at_end)),
            "trained_all": (("set", "descent"), at_end),
            "matched": (("set", "descent"), if_fitted(matched)),
            "margin_at_end": (("set", "descent"), margin_at_end),
            "margin": (("set", "member"), margin_of_members),
        }
    )


def nearest(
    keys: Float[np.ndarray, "sets members"],
    values: Float[np.ndarray, "sets members"],
    targets: Float[np.ndarray, "sets queries"],
) -> Float[np.ndarray, "sets queries"]:
    """Return the value of the member whose key is nearest to each target, within each set."""
    rows = np.abs(keys[:, :, None] - targets[:, None]).argmin(axis=1)
    return np.take_along_axis(values, rows, axis=1)
