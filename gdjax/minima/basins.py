"""Basins of attraction of the minima of a cost of one or two parameters.

    basin(m) = {x_0 : x_t -> m},   x_{t+1} = x_t - learning_rate grad f(x_t)

Descents start on a grid, and one program runs them for every learning rate and momentum. At small
learning rates, the basins are those of the gradient flow, separated by the stable manifolds of
saddles. Larger steps cross these boundaries, and above (2 + 2 momentum) / (largest eigenvalue)
almost no start converges to a minimum.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import product
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, Float, Scalar, ScalarLike
from scipy.spatial import KDTree

from gdjax.base.arguments import (
    check_choice,
    check_limits,
    check_numbers,
)
from gdjax.base.arrays import Array, as_dataset, quantities
from gdjax.base.errors import InputError
from gdjax.base.limits import Count, Momentum, Positive
from gdjax.base.status import Status
from gdjax.descent.outcome import Outcome
from gdjax.minima.clustering import cluster_points
from gdjax.problems import test_functions
from gdjax.problems.critical_points import DEGENERATE, MAXIMUM, MINIMUM, SADDLE, CriticalPoint
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import axes
from gdjax.sweeps.sweep import sweep

if TYPE_CHECKING:
    import xarray as xr

RECORDS = 100  # number of records, so the step of arrival has the resolution num_steps / RECORDS
MAX_ISOLATED = 1000  # maximum number of distinct end points; more count as a manifold of minima


class NoMinimum(IntEnum):
    """Negative codes of starts that did not converge to a minimum."""

    NOT_ARRIVED = -1
    DIVERGED = -2
    AT_NO_MINIMUM = -3


class OtherKind(Status):
    """Kinds of critical points that are not minima."""

    SADDLE = 0
    MAXIMUM = 1
    DEGENERATE = 2


def basins_of_attraction(
    function: str | Callable[..., Scalar],
    learning_rate: Sequence | ArrayLike,
    *,
    momentum: Sequence | ArrayLike = (0.0,),
    domain: Sequence | ArrayLike | None = None,
    side: int = 101,
    num_steps: int = 1000,
    gradient_tolerance: float = 1e-6,
    distance_tolerance: float = 1e-3,
) -> "xr.Dataset":
    """Find the minimum to which each start of a grid descends.

    Starts are the centers of equal cells, so a share is the fraction of the domain's area that a
    basin covers, up to the resolution of the grid. All computations are in float64.

    Args:
        function: name of a registered test function, whose classified minima are the labels, or a
            user-defined `f(x) -> scalar`, whose minima are found from the end points.
        learning_rate: one or more learning rates, > 0.
        momentum: one or more coefficients of heavy-ball momentum, in [0, 1).
        domain: bounds of the starts (see `gdjax.problems.from_function`).
        side: number of starts along each coordinate.
        num_steps: maximum number of steps of each descent.
        gradient_tolerance: largest gradient norm at which a descent counts as converged.
        distance_tolerance: largest distance of an end point from its critical point.

    Returns:
        A Dataset over learning_rate, momentum, y (for two parameters) and x: `end`, the number of
        the minimum or a negative code; `arrived_at`, the step of arrival, or -1 without arrival;
        the `share` of each minimum and code; `limit`, the learning rate above which each minimum is
        unstable; positions of minima and other critical points; and the cost on the grid.

    Examples:
        The maximum between the two minima of the function is at 0.126, and a share of 0.525 of
        [-2.5, 2.5] lies to its left. The second learning rate is above the limit of the first
        minimum:

        >>> result = basins_of_attraction("quartic", [0.02, 0.12], side=200, num_steps=500)
        >>> result.limit.values.round(3).tolist()
        [[0.111, 0.145]]
        >>> result.share.isel(momentum=0, learning_rate=0).values.tolist()
        [0.525, 0.475]
        >>> float(result.share.isel(momentum=0, learning_rate=1, minimum=0))
        0.0
    """
    check_limits("basins_of_attraction: side", side, Count)
    check_limits("basins_of_attraction: num_steps", num_steps, Count)
    check_limits("basins_of_attraction: gradient_tolerance", gradient_tolerance, Positive)
    check_limits("basins_of_attraction: distance_tolerance", distance_tolerance, Positive)
    check_numbers("basins_of_attraction: learning_rate", learning_rate, Positive)
    check_numbers("basins_of_attraction: momentum", momentum, Momentum)
    rates, momenta = (np.ravel(a).astype(float) for a in (learning_rate, momentum))
    with jax.enable_x64(True):
        problem = test_functions.from_function(function, domain)
        known = test_functions.FUNCTIONS[function] if isinstance(function, str) else None
        box = known.domain if known is not None and domain is None else domain
        bounds = np.atleast_2d(np.asarray(box, float))
        if len(bounds) > 2:
            raise InputError(
                f"basins_of_attraction: domain = {domain!r:.80}, expected one or two coordinates"
            )
        grid = [lo + (hi - lo) * (np.arange(side) + 0.5) / side for lo, hi in bounds]
        ends, outcome, arrived_at = _descend(
            problem.cost, grid, rates, momenta, num_steps, gradient_tolerance
        )
        converged = outcome == Outcome.CONVERGED
        critical = (
            [*known.minima, *(point for point in known.critical_points if point.kind != MINIMUM)]
            if known
            else _classified_points(problem.cost, ends[converged], distance_tolerance)
        )
        num_minima = sum(point.kind == MINIMUM for point in critical)  # the first ones
        position = np.reshape([point.x for point in critical], (-1, len(grid)))
        sharpness = _eigenvalues(problem.cost, position[:num_minima])[:, -1]
        cost = jax.jit(jax.vmap(problem.cost))(
            _as_params(np.stack([a.ravel() for a in np.meshgrid(*grid)], axis=-1))
        )
    end = _label_ends(ends, outcome, position[:num_minima], distance_tolerance)
    axes = {"learning_rate": rates, "momentum": momenta, **_coordinate_axes(grid)}
    codes = [*range(num_minima), *NoMinimum]
    area = tuple(range(2, end.ndim))
    shares = np.stack([np.mean(end == code, axis=area) for code in codes], axis=-1)
    values = {
        "end": end,
        "arrived_at": arrived_at,
        "cost": np.reshape(cost, end.shape[2:]),
        "share": shares[..., :num_minima],
        **{f"share_{c.name.lower()}": shares[..., num_minima + i] for i, c in enumerate(NoMinimum)},
        "position": position[:num_minima],
        "minimum_cost": np.array([point.value for point in critical[:num_minima]], float),
        "sharpness": sharpness,
        "limit": (2 + 2 * momenta[:, None]) / sharpness,
        "other_position": position[num_minima:],
        "other_kind": np.array(
            [OtherKind[point.kind.upper()] for point in critical[num_minima:]], np.int8
        ),
    }
    return as_dataset(_quantities([*axes][2:]), values, axes).assign_attrs(
        result="basins",
        function=known.name if known else getattr(function, "__name__", "f"),
        formula=known.formula if known else "",
        domain=bounds.ravel().tolist(),
        side=side,
        num_steps=num_steps,
        gradient_tolerance=gradient_tolerance,
        distance_tolerance=distance_tolerance,
    )


def learning_rate_limits(
    function: str, *, momentum: ScalarLike = 0.0
) -> Float[np.ndarray, " minima"]:
    """Return the largest stable learning rate of each minimum of a test function.

        (2 + 2 momentum) / (largest eigenvalue of the Hessian at the minimum)

    Args:
        function: name of a registered function; its classified minima are ordered by cost.
        momentum: coefficient of heavy-ball momentum.

    Returns:
        The learning rate above which each minimum is unstable, [minima].

    Examples:
        >>> learning_rate_limits("quartic").round(3).tolist()
        [0.111, 0.145]
    """
    check_limits("learning_rate_limits: momentum", momentum, Momentum)
    check_choice("learning_rate_limits: function", function, test_functions.FUNCTIONS)
    known = test_functions.FUNCTIONS[function]
    minima = np.array([np.atleast_1d(point.x) for point in known.minima])
    if not len(minima):  # a test function whose minima are a manifold
        return np.zeros(0)
    with jax.enable_x64(True):
        return np.asarray((2 + 2 * momentum) / _eigenvalues(known.f, minima)[:, -1])


def _as_params(position):
    """Return points [..., coordinates] as parameters, scalars for one coordinate."""
    return jnp.asarray(position[..., 0] if position.shape[-1] == 1 else position)


def _coordinate_axes(grid):
    """Return the grid's coordinates in the order of the dimensions, y before x."""
    return dict(reversed(list(zip(("x", "y"), grid, strict=False))))


def _descend(cost, grid, rates, momenta, num_steps, gradient_tolerance):
    """Return end points, outcomes and steps of arrival of all starts.

    Each pair of learning rate and momentum is a sweep over starting points, which is compiled once
    and stops when all of its runs have converged or diverged.
    """
    if len(grid) == 1:

        def init(key, *, x=0.0):
            return jnp.asarray(x, float)

    else:

        def init(key, *, x=0.0, y=0.0):
            return jnp.stack([jnp.asarray(x, float), jnp.asarray(y, float)])

    problem = Problem(init=init, cost=cost)
    ends, outcomes, arrivals = [], [], []
    for rate, velocity in product(rates, momenta):
        runs = sweep(
            problem,
            axes(learning_rate=[rate], momentum=[velocity], **_coordinate_axes(grid)),
            num_steps,
            make_optimizer=optax.sgd,
            record_every=max(1, num_steps // RECORDS),
            stop_when_converged=True,
            gradient_tolerance=gradient_tolerance,
        ).isel(learning_rate=0, momentum=0)
        converged = runs["outcome"].values == Outcome.CONVERGED
        first = np.argmax(runs["gradient_norm"].values <= gradient_tolerance, axis=-1)
        ends.append(runs["params"].values.reshape(*converged.shape, len(grid)))
        outcomes.append(runs["outcome"].values)
        arrivals.append(np.where(converged, runs["step"].values[first], -1).astype(np.int32))

    def by_setting(values):
        return np.stack(values).reshape(len(rates), len(momenta), *values[0].shape)

    return by_setting(ends), by_setting(outcomes), by_setting(arrivals)


def _classified_points(cost, ends, distance_tolerance):
    """Return the points to which descents converged, classified by their Hessian."""
    rounded = np.unique(np.round(ends / distance_tolerance), axis=0) * distance_tolerance
    if len(rounded) > MAX_ISOLATED:
        raise InputError(
            f"basins_of_attraction: descents converged to {len(rounded)} different points, so the "
            f"minima are not isolated; expected a function with at most {MAX_ISOLATED} minima"
        )
    if not len(rounded):
        return []
    first = np.unique(cluster_points(rounded, 2 * distance_tolerance).labels, return_index=True)[1]
    nearest = np.argmin(np.linalg.norm(ends[None] - rounded[first, None], axis=-1), axis=1)
    position = ends[nearest]
    value = np.asarray(jax.jit(jax.vmap(cost))(_as_params(position)))
    values = _eigenvalues(cost, position)
    # An eigenvalue within the rounding error of the Hessian's entries counts as zero.
    zero = np.abs(values).max(axis=1) * 1e-8
    lowest, highest = values[:, 0], values[:, -1]
    kind = np.select(
        [lowest > zero, (lowest < -zero) & (highest > zero), highest < -zero],
        [MINIMUM, SADDLE, MAXIMUM],
        DEGENERATE,
    )
    order = np.lexsort((value, kind != MINIMUM))
    return [CriticalPoint(position[i], value[i], kind[i]) for i in order]


def _eigenvalues(cost, position):
    """Return the eigenvalues of the Hessian at each point, ascending."""
    hessian = jax.jit(jax.vmap(jax.hessian(cost)))(_as_params(position))
    size = position.shape[-1]
    return np.linalg.eigvalsh(np.asarray(hessian).reshape(-1, size, size))


def _label_ends(ends, outcome, minima, distance_tolerance):
    """Return the number of each start's minimum, or a code of `NoMinimum`."""
    converged = outcome == Outcome.CONVERGED
    end = np.full(converged.shape, NoMinimum.NOT_ARRIVED, np.int16)
    end[outcome == Outcome.DIVERGED] = NoMinimum.DIVERGED
    end[converged] = NoMinimum.AT_NO_MINIMUM
    if len(minima):
        distance, number = KDTree(minima).query(ends[converged])
        end[converged] = np.where(distance <= distance_tolerance, number, NoMinimum.AT_NO_MINIMUM)
    return end


def _quantities(coordinates):
    """Declare the quantities over a grid of starts with these coordinates."""
    settings = "learning_rate momentum"
    starts = " ".join((settings, *coordinates))
    end = "number of the minimum, or a negative code if there is none"
    shares = [f"share_{code.name.lower()}" for code in NoMinimum]
    return {
        "end": Array(end, tuple(starts.split()), codes=NoMinimum),
        "other_kind": Array("kind of critical point", ("point",), codes=OtherKind),
        **quantities(starts, arrived_at="step of arrival, -1 without arrival"),
        **quantities(" ".join(coordinates), cost="cost"),
        **quantities(f"{settings} minimum", share="share of the starts"),
        **quantities(settings, **{share: share.replace("_", " ") for share in shares}),
        **quantities("minimum coordinate", position="position"),
        **quantities("minimum", minimum_cost="cost", sharpness="largest eigenvalue"),
        **quantities("momentum minimum", limit="learning rate above which the minimum is unstable"),
        **quantities("point coordinate", other_position="position"),
        **{name: Array(name.replace("_", " "), (name,)) for name in starts.split()},
    }
