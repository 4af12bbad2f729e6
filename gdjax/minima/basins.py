"""Which start ends where: basins of the minima of a cost of one or two parameters.

    basin(m) = {x_0 : x_t -> m},   x_{t+1} = x_t - learning_rate grad f(x_t)

A grid of starts descends as one program, for every learning rate and momentum asked for. At small
rates the basins are those of the gradient flow, parted by the saddles' stable curves; larger steps
jump over borders, and above 2 / (largest eigenvalue) a minimum holds nobody any more:

>>> held = basins("quartic", [0.02, 0.12], side=200, steps=500)
>>> held.limit.values.round(3).tolist()
[[0.111, 0.145]]
>>> held.share.isel(momentum=0, learning_rate=0).values.tolist()
[0.525, 0.475]
>>> float(held.share.isel(momentum=0, learning_rate=1, minimum=0))
0.0

The hill between the two valleys stands at 0.126, and 0.525 of [-2.5, 2.5] lies left of it.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import ArrayLike, Float, Scalar, ScalarLike
from scipy.spatial import KDTree

from gdjax.descent.outcome import Outcome
from gdjax.errors import InputError
from gdjax.flags import flags
from gdjax.minima.grouping import groups
from gdjax.problems import functions
from gdjax.problems.critical_points import DEGENERATE, MAXIMUM, MINIMUM, SADDLE
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import axes
from gdjax.sweeps.sweep import sweep

if TYPE_CHECKING:
    import xarray as xr

KINDS = (SADDLE, MAXIMUM, DEGENERATE)  # of critical points that are no minima
RECORDS = 100  # how finely the time of arrival is known: steps / RECORDS
ISOLATED = 1000  # more places than that are no isolated minima, but a valley floor


class NoMinimum(IntEnum):
    """Why a start has no minimum; those that have one have its number, from 0."""

    NOT_ARRIVED = -1
    DIVERGED = -2
    AT_NO_MINIMUM = -3


class Critical(NamedTuple):
    """Points where the slope vanishes, minima first.

    Args:
        at: where they are.
        value: the cost there.
        kind: "minimum", "saddle", "maximum" or "degenerate".
    """

    at: Float[np.ndarray, "points coordinates"]
    value: Float[np.ndarray, " points"]
    kind: np.ndarray


def basins(
    function: str | Callable[..., Scalar],
    learning_rate: Sequence | ArrayLike,
    *,
    momentum: Sequence | ArrayLike = (0.0,),
    domain: Sequence | ArrayLike | None = None,
    side: int = 101,
    steps: int = 1000,
    tolerance: float = 1e-6,
    near: float = 1e-3,
) -> "xr.Dataset":
    """Descend from a grid of starts, with every learning rate and momentum, and see who ends where.

    Starts stand in the middle of equal cells, so that a share is the part of the domain's area that
    a basin takes, up to the grid's coarseness. All in float64.

    Args:
        function: name of a registered test function, whose certified minima the labels then refer
            to; or a user's own `f(x) -> scalar`, whose minima are found from the ends.
        learning_rate: one or more, > 0.
        momentum: of heavy-ball momentum, in [0, 1).
        domain: as for `gdjax.problems.function`.
        side: starts along each coordinate.
        steps: how many each start takes at most.
        tolerance: a gradient norm up to it counts as zero: the start has arrived.
        near: a start that arrived this near to a critical point arrived at that one.

    Returns:
        An `xarray.Dataset` over learning_rate, momentum, y (for two parameters) and x: `end`, the
        number of the minimum or a negative code; `arrived_at`, the step of arrival, -1 where there
        is none; the `share` of each minimum and code, `limit`, the rate at which each minimum stops
        being stable; where minima and other critical points are; and the cost on the grid.

    Raises:
        InputError: an unknown function, a domain that does not fit, rates or momenta out of range.
    """
    rates, momenta = _checked("learning_rate", learning_rate), _checked("momentum", momentum)
    if not (rates > 0).all() or not ((momenta >= 0) & (momenta < 1)).all():
        raise InputError(
            f"basins: learning_rate = {rates.tolist()} and momentum = {momenta.tolist()}, expected "
            f"rates above 0 and momenta in [0, 1)"
        )
    with jax.enable_x64(True):
        problem = functions.function(function, domain)
        known = functions.find(function) if isinstance(function, str) else None
        given = known.domain if known is not None and domain is None else domain
        bounds = np.atleast_2d(np.asarray(given, float))
        if len(bounds) > 2:
            raise InputError(f"basins: domain = {domain!r:.80}, expected one or two coordinates")
        grid = [lo + (hi - lo) * (np.arange(side) + 0.5) / side for lo, hi in bounds]
        ends, outcome, arrived_at = _descend(problem.cost, grid, rates, momenta, steps, tolerance)
        still = outcome == Outcome.CONVERGED
        critical = _known(known) if known else _at_rest(problem.cost, ends[still], near)
        sharpness = _eigenvalues(problem.cost, critical.at)[:, -1]
        cost = jax.jit(jax.vmap(problem.cost))(_points(_mesh(grid)))
        # The other critical points, whose largest curvature may be negative, are left out later.
        limit = np.stack([(2 + 2 * b) / np.asarray(sharpness) for b in momenta])
    end = _labelled(ends, still, outcome, critical, near)
    places = {"learning_rate": rates, "momentum": momenta, **_named_axes(grid)}
    return _dataset(
        places, end, arrived_at, critical, sharpness, limit, np.asarray(cost)
    ).assign_attrs(
        function=known.name if known else getattr(function, "__name__", "f"),
        formula=known.formula if known else "",
        domain=bounds.ravel().tolist(),
        side=side,
        steps=steps,
        tolerance=tolerance,
        near=near,
    )


def limits(name: str, *, momentum: ScalarLike = 0.0) -> Float[np.ndarray, " minima"]:
    """The learning rate at which each minimum of a test function stops being stable.

        (2 + 2 momentum) / (largest eigenvalue of the Hessian there)

    Args:
        name: of a registered function; its certified minima, lowest first.
        momentum: of heavy-ball momentum.

    Examples:
        >>> limits("quartic").round(3).tolist()
        [0.111, 0.145]
    """
    known = functions.find(name)
    minima = np.array([np.atleast_1d(point.x) for point in known.minima])
    if not len(minima):
        return np.zeros(0)
    with jax.enable_x64(True):
        return np.asarray((2 + 2 * momentum) / _eigenvalues(known.f, minima)[:, -1])


def _checked(name, values):
    array = np.atleast_1d(np.asarray(values, float))
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        raise InputError(f"basins: {name} = {values!r:.80}, expected finite numbers")
    return array


def _mesh(grid):
    """Every start of a grid, [starts, coordinates], in the order y, x."""
    return np.stack([a.ravel() for a in np.meshgrid(*grid)], axis=-1)


def _points(at):
    """Points [..., coordinates] as parameters: scalars where there is one coordinate."""
    return jnp.asarray(at[..., 0] if at.shape[-1] == 1 else at)


def _named_axes(grid):
    """The grid's coordinates in the order of the map's dimensions, y before x."""
    return dict(reversed(list(zip(("x", "y"), grid, strict=False))))


def _descend(cost, grid, rates, momenta, steps, tolerance):
    """Where every start ends, how, and when; a sweep for each setting, compiled once.

    The starting point is what is swept. Each sweep ends when its own starts have come to rest.
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
            axes(learning_rate=[rate], momentum=[velocity], **_named_axes(grid)),
            steps,
            make_optimizer=optax.sgd,
            record_every=max(1, steps // RECORDS),
            stop_when_converged=True,
            gradient_tolerance=tolerance,
        ).isel(learning_rate=0, momentum=0)
        still = runs["outcome"].values == Outcome.CONVERGED
        first = np.argmax(runs["gradient_norm"].values <= tolerance, axis=-1)
        ends.append(runs["params"].values.reshape(*still.shape, len(grid)))
        outcomes.append(runs["outcome"].values)
        arrivals.append(np.where(still, runs["step"].values[first], -1).astype(np.int32))

    def by_setting(values):
        return np.stack(values).reshape(len(rates), len(momenta), *values[0].shape)

    return by_setting(ends), by_setting(outcomes), by_setting(arrivals)


def _known(function):
    """The certified critical points of a registered function."""
    others = [p for p in function.critical_points if p.kind != MINIMUM]
    points = [*function.minima, *others]
    return Critical(
        at=np.array([np.atleast_1d(p.x) for p in points]),
        value=np.array([p.value for p in points]),
        kind=np.array([p.kind for p in points]),
    )


def _at_rest(cost, ends, near):
    """The points at which descents came to rest, each certified by its Hessian."""
    size = ends.shape[-1]
    places = np.unique(np.round(ends / near), axis=0) * near
    if len(places) > ISOLATED:
        raise InputError(
            f"basins: descents came to rest at {len(places)} different places, so the minima are "
            f"no isolated points; expected a function with at most {ISOLATED} of them"
        )
    if not len(places):
        return Critical(np.zeros((0, size)), np.zeros(0), np.zeros(0, "<U10"))
    label = groups(places, 2 * near).label
    nearest = np.argmin(
        np.linalg.norm(ends[None] - places[np.unique(label, return_index=True)[1], None], axis=-1),
        axis=1,
    )
    at = ends[nearest]
    value = np.asarray(jax.jit(jax.vmap(cost))(_points(at)))
    values = _eigenvalues(cost, at)
    # Rounding of a Hessian's entries; a curvature below it is none.
    zero = np.abs(values).max(axis=1) * 1e-8
    lowest, highest = values[:, 0], values[:, -1]
    kind = np.select(
        [lowest > zero, (lowest < -zero) & (highest > zero), highest < -zero],
        [MINIMUM, SADDLE, MAXIMUM],
        DEGENERATE,
    )
    order = np.lexsort((value, kind != MINIMUM))
    return Critical(at[order], value[order], kind[order])


def _eigenvalues(cost, at):
    """Of the Hessian at each point, ascending."""
    hessian = jax.jit(jax.vmap(jax.hessian(cost)))(_points(at))
    size = at.shape[-1]
    return np.linalg.eigvalsh(np.asarray(hessian).reshape(-1, size, size))


def _labelled(ends, still, outcome, critical, near):
    """The number of the minimum at which each start came to rest, or why there is none."""
    minima = critical.at[critical.kind == MINIMUM]
    end = np.full(still.shape, NoMinimum.NOT_ARRIVED, np.int16)
    end[outcome == Outcome.DIVERGED] = NoMinimum.DIVERGED
    end[still] = NoMinimum.AT_NO_MINIMUM
    if len(minima):
        distance, number = KDTree(minima).query(ends[still])
        end[still] = np.where(distance <= near, number, NoMinimum.AT_NO_MINIMUM)
    return end


def _dataset(places, end, arrived_at, critical, sharpness, limit, cost):
    import xarray as xr

    dims = tuple(places)
    settings, place = dims[:2], dims[2:]
    is_minimum = critical.kind == MINIMUM
    count = int(is_minimum.sum())
    codes = [*range(count), *NoMinimum]
    area = tuple(range(2, end.ndim))
    shares = np.stack([np.mean(end == code, axis=area) for code in codes], axis=-1)
    coordinates = {name: (name, values, _named(name)) for name, values in places.items()}
    return xr.Dataset(
        {
            "end": (
                dims,
                end,
                {"long_name": "number of the minimum, or why there is none", **flags(NoMinimum)},
            ),
            "arrived_at": (dims, arrived_at, _named("step of arrival, -1 where there is none")),
            "cost": (place, cost.reshape(end.shape[2:]), _named("cost")),
            "share": (
                (*settings, "minimum"),
                shares[..., :count],
                _named("share of the starts"),
            ),
            **{
                f"share_{name}": (settings, shares[..., count + i], _named(f"share {name}"))
                for i, name in enumerate(why.name.lower() for why in NoMinimum)
            },
            "position": (
                ("minimum", "coordinate"),
                critical.at[is_minimum],
                _named("position"),
            ),
            "minimum_cost": ("minimum", critical.value[is_minimum], _named("cost")),
            "sharpness": ("minimum", sharpness[is_minimum], _named("largest eigenvalue")),
            "limit": (
                ("momentum", "minimum"),
                limit[:, is_minimum],
                _named("learning rate at which the minimum stops being stable"),
            ),
            "other": (("point", "coordinate"), critical.at[~is_minimum], _named("position")),
            "other_kind": (
                "point",
                np.array([KINDS.index(kind) for kind in critical.kind[~is_minimum]], np.int8),
                {
                    "long_name": "kind of critical point",
                    "flag_values": list(range(len(KINDS))),
                    "flag_meanings": " ".join(KINDS),
                },
            ),
        },
        coordinates,
    )


def _named(long_name):
    return {"long_name": long_name.replace("_", " "), "units": "1"}
