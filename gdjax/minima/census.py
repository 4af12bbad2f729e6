"""How many different minima did some descents find, how good is each, what lies between them?

    ends -> polished -> certified -> in canonical form -> groups -> a table of minima

Only what is certified as a minimum is counted. Runs that diverged, stopped short of a point without
slope, or ended at a saddle or where the cost has no derivative, are reported as such. Forty starts
on a function with four minima:

>>> from gdjax.problems import function
>>> problem = function("himmelblau")
>>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 40))
>>> found = census(problem, starts, key=jax.random.key(1))
>>> found.sizes["minimum"], kinds(found)
(4, {'strict minimum': 40})

Two ends are the same if a chain of ends leads from one to the other with no step longer than a
tolerance (`grouping`). For networks, what the data never touch is set to 0 first, hidden neurons
are brought to their canonical order and signs, and distances are those of `coordinates`: then
networks that compute the same in the same way are one, however they are written down.

Where minima are no points but floors, every run has its own point of the same floor. Floors are
counted for themselves, in a dimension of their own: those that a path of equal cost joins are one
(`joined`). No number about minima holds any of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.errors import InputError
from gdjax.minima import counting
from gdjax.minima.ends import GRADIENT_TOLERANCE, POINTS, STEPS, TOLERANCE, End, certify
from gdjax.minima.grouping import Groups, counts, groups, in_the_plane
from gdjax.minima.joined import floors
from gdjax.minima.pairs import Barriers, barriers
from gdjax.minima.symmetry import canonical, coordinates
from gdjax.problems.problem import Problem
from gdjax.sweeps.arrays import named_leaves

TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # at which groups are counted, too
COMPARED = 64  # minima between which paths are looked at: the lowest
PROBE = 1000  # samples on which outputs are compared


class Minima(NamedTuple):
    """Certified minima in groups, lowest cost first.

    Args:
        label: for each run the number of its minimum, -1 for runs that ended in none.
        first: for each minimum the run that stands for it: the one with the smallest gradient.
        groups: as found from all runs that ended in a minimum; None without any.
    """

    label: Int[np.ndarray, " runs"]
    first: Int[np.ndarray, " minima"]
    groups: Groups | None


class Floors(NamedTuple):
    """Certified floors, lowest cost first.

    Args:
        label: for each run the number of its floor, -1 for runs that ended on none.
        first: for each floor the run that stands for it: the one with the smallest gradient.
    """

    label: Int[np.ndarray, " runs"]
    first: Int[np.ndarray, " floors"]


def census(
    problem: Problem,
    params: PyTree,
    *,
    key: Key[Array, ""],
    tolerance: float = TOLERANCE,
    output_tolerance: float = 1e-3,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    steps: int = STEPS,
) -> Any:
    """The different minima among the ends of many runs, and what is known about each.

    Args:
        problem: whose cost was descended, over all its data. With a network, its symmetries are
            taken out; with `predict`, minima are compared by their outputs, too.
        params: where the runs stopped, with a leading axis of runs; NaN for a run that diverged.
        key: for probes, and for the starts of matchings.
        tolerance: longest step within a group, in the units of the parameters; how well the place
            of a minimum must be known, too.
        output_tolerance: longest step within a group of minima that compute the same: root mean
            square of the difference of outputs.
        gradient_tolerance: as for `certify`.
        steps: of polishing, as for `certify`.

    Returns:
        An `xarray.Dataset`.

        - A run has its `kind`, its `minimum_of` and `floor_of` (-1 if none), cost and gradient norm
          before and after polishing, extreme eigenvalues, nullity and dead coordinates.
        - A `minimum`, lowest first, has `count`, `share` with an interval (`share_low`,
          `share_high`), cost, smallest and largest eigenvalue, nullity, `width` of its group, the
          problem's measures, `same_outputs` (a number that minima share which compute the same),
          and parameters. These are those of the run `first`, as it was written down: flips of
          sigmoids change eigenvalues.
        - A `floor`, lowest first, has `floor_count`, `floor_share` with an interval, `floor_cost`,
          `floor_nullity`, `floor_sharpness`, `floor_first` and `floor_same_outputs`.
        - `unseen_*`: what is estimated about minima that were not found (`counting.unseen`), and
          `unseen_floor_*` about floors.
        - `groups` and `output_groups` at other tolerances; `gap` is the smallest distance between
          two minima, `stable_from` and `stable_to` the tolerances between which the number of
          groups stays what it is.
        - For the lowest 64 minima: `barrier`, `matched_barrier`, `distance`, `matched_distance`
          between any two, and a map of these distances in the plane.

    Raises:
        InputError: as for `certify`; a cost that changes when hidden neurons are written down in
            another way.
    """
    key_door, key_ends, key_pairs = jax.random.split(key, 3)
    _check_symmetric(problem, key_door)
    ends = certify(
        problem,
        params,
        key=key_ends,
        tolerance=tolerance,
        gradient_tolerance=gradient_tolerance,
        steps=steps,
    )
    with jax.enable_x64(True):
        canon, points = _comparable(problem, ends)
        found = _minima(ends, points, tolerance)
        between = _between(problem, canon, found, key_pairs)
        if between is not None and between.matched_distance is not None:
            merged = _merged(ends, found, between.matched_distance, tolerance)
            if len(merged.first) < len(found.first):
                found = merged
                between = _between(problem, canon, found, key_pairs)
        level = _floors(problem, ends, canon)
        one = jax.tree.map(lambda leaf: leaf[found.first], ends.params)
        measured = _measures(problem, one, len(found.first))
        stand = np.concatenate([found.first, level.first])
        outputs = _outputs(problem, jax.tree.map(lambda leaf: leaf[stand], ends.params), len(stand))
    attributes = {
        "tolerance": tolerance,
        "output_tolerance": output_tolerance,
        "gradient_tolerance": gradient_tolerance,
        "compared": "coordinates of the canonical form" if problem.network else "parameters",
    }
    return _dataset(
        ends, found, level, between, one, measured, outputs, output_tolerance
    ).assign_attrs(attributes)


def kinds(dataset: Any) -> dict[str, int]:
    """How many runs of a census ended at each kind of point; kinds without any are left out."""
    return {
        end.label: int(np.sum(dataset["kind"].values == end))
        for end in End
        if np.any(dataset["kind"].values == end)
    }


def _check_symmetric(problem, key):
    """Weight decay on biases, for one, makes a network and its equivalent differ."""
    if problem.network is None:
        return
    key_init, *keys = jax.random.split(key, 1 + len(problem.network.widths))
    params = problem.init(key_init)
    # Biases often start at 0, where much goes unseen.
    params = tuple(
        layer._replace(bias=layer.bias + jax.random.normal(k, layer.bias.shape))
        for layer, k in zip(params, keys, strict=False)
    )
    data = () if problem.data is None else (jax.tree.map(jnp.asarray, problem.data),)
    cost = jax.jit(problem.cost)
    before, after = (float(cost(p, *data)) for p in (params, canonical(problem.network, params)))
    if not abs(after - before) <= 1e-4 * max(abs(before), 1e-30):
        raise InputError(
            f"census: the cost of a network is {before:.6g} and that of its equivalent with other "
            f"order and signs {after:.6g}; expected the same (decay of biases is a common reason). "
            f"Leave biases out of it, or give dataclasses.replace(problem, network=None)"
        )


def _comparable(problem, ends):
    """Parameters in the form in which equal minima are equal, and as points with distances.

    What no run's cost depends on is set to 0: it never left its random start.
    """
    finite = ends.kind != End.DIVERGED
    used = ends.live[finite].any(axis=0) if finite.any() else np.ones(ends.live.shape[1], bool)
    leaves, structure = jax.tree.flatten(ends.params)
    cuts = np.cumsum([leaf[0].size for leaf in leaves])[:-1]
    masks = [
        m.reshape(leaf.shape[1:]) for m, leaf in zip(np.split(used, cuts), leaves, strict=True)
    ]
    kept = [np.where(mask, leaf, 0) for mask, leaf in zip(masks, leaves, strict=True)]
    params = placed = jax.tree.unflatten(structure, kept)
    if problem.network is not None:
        form = jax.jit(jax.vmap(lambda one: canonical(problem.network, one)))
        params = jax.tree.map(np.asarray, form(params))
        placed = jax.jit(jax.vmap(lambda one: coordinates(problem.network, one)))(params)
    flat = [np.asarray(leaf).reshape(len(finite), -1) for leaf in jax.tree.leaves(placed)]
    return params, np.concatenate(flat, axis=1)


def _minima(ends, points, tolerance):
    """Certified minima in groups."""
    runs = np.flatnonzero(np.isin(ends.kind, POINTS))
    label = np.full(len(ends.kind), -1)
    if not len(runs):
        return Minima(label, np.zeros(0, int), None)
    found = groups(points[runs], tolerance)
    return Minima(*_numbered(ends, runs, found.label), found)


def _floors(problem, ends, canon):
    """Certified floors, those that a path joins as one."""
    runs = np.flatnonzero(ends.kind == End.FLOOR)
    if not len(runs):
        return Floors(np.full(len(ends.kind), -1), np.zeros(0, int))
    points = jax.tree.map(lambda leaf: np.asarray(leaf)[runs], canon)
    label = floors(problem, points, ends.cost[runs], sharpness=ends.largest[runs])
    return Floors(*_numbered(ends, runs, label))


def _numbered(ends, runs, group):
    """Numbers of the runs' groups in the order of costs, and a run that stands for each."""
    calmest = runs[np.lexsort((runs, ends.gradient_norm[runs]))]
    of = dict(zip(runs.tolist(), group.tolist(), strict=True))
    first = {of[run]: run for run in reversed(calmest.tolist())}
    # Costs that differ by rounding alone would be put in an order that means nothing: then the run
    # that was first decides.
    scale = 1e-9 * max(1.0, float(np.abs(ends.cost[runs]).max()))
    place = sorted(first, key=lambda g: (round(ends.cost[first[g]] / scale), first[g]))
    number = {g: i for i, g in enumerate(place)}
    label = np.full(len(ends.kind), -1)
    label[runs] = [number[g] for g in group.tolist()]
    return label, np.array([first[g] for g in place])


def _merged(ends, found, distance, tolerance):
    """Minima that matching laid over each other: a tie had given them different forms."""
    near = connected_components(distance <= tolerance)[1]
    runs = np.flatnonzero(found.label >= 0)
    group = found.label[runs]
    # Those beyond the compared ones stay as they are.
    group = np.where(group < len(near), near[np.minimum(group, len(near) - 1)], group + len(near))
    return Minima(*_numbered(ends, runs, group), found.groups)


def _between(problem, params, found, key):
    """Barriers and distances between the lowest minima."""
    if len(found.first) < 2:
        return None
    chosen = jax.tree.map(lambda leaf: leaf[found.first[:COMPARED]], params)
    return barriers(problem, chosen, key=key)


def _measures(problem, params, count):
    """The problem's measures at each minimum; those that carry a state have none there."""
    found = {}
    for name, measure in problem.measures.items():
        if measure.init is None:
            at = jax.jit(lambda one, data, f=measure.function: f(one, data))
            data = jax.tree.map(jnp.asarray, measure.data)
            each = [at(jax.tree.map(lambda a, i=i: a[i], params), data) for i in range(count)]
            found[name] = (np.array(each, float), measure.long_name, measure.units)
    return found


def _outputs(problem, params, count):
    """What each minimum computes, a row each, scaled so that distances are root mean squares."""
    if problem.predict is None or problem.data is None or not count:
        return None
    test = problem.measures.get("test_accuracy")
    inputs = jax.tree.leaves(problem.data if test is None else test.data)[0][:PROBE]
    at = jax.jit(problem.predict)
    rows = [
        np.ravel(at(jax.tree.map(lambda a, i=i: a[i], params), jnp.asarray(inputs)))
        for i in range(count)
    ]
    return np.stack(rows) / np.sqrt(rows[0].size)


def _dataset(ends, found, level, between, params, measured, outputs, output_tolerance):
    import xarray as xr

    first, runs = found.first, len(ends.kind)
    count = np.bincount(found.label[found.label >= 0], minlength=len(first))
    none = np.zeros(0)
    share = counting.shares(count, runs) if len(first) else counting.Shares(none, none, none)
    same = groups(outputs, output_tolerance) if outputs is not None else None
    floor_count = np.bincount(level.label[level.label >= 0], minlength=len(level.first))
    floor_share = (
        counting.shares(floor_count, runs)
        if len(level.first)
        else counting.Shares(none, none, none)
    )
    heights = found.groups.heights if found.groups is not None else none
    joined = counts(heights, TOLERANCES) if found.groups is not None else 0 * TOLERANCES
    data = {
        "kind": ("run", ends.kind.astype(np.int8), _codes("kind of point", End)),
        "minimum_of": ("run", found.label.astype(np.int32), _named("number of its minimum, or -1")),
        "cost_before": ("run", ends.cost_before, _named("cost where the run stopped")),
        "cost": ("run", ends.cost, _named("cost after polishing")),
        "gradient_norm_before": (
            "run",
            ends.gradient_norm_before,
            _named("norm of the gradient where the run stopped"),
        ),
        "gradient_norm": ("run", ends.gradient_norm, _named("the same after polishing")),
        "moved": ("run", ends.moved, _named("distance that polishing went")),
        "slid": ("run", ends.slid, _named("distance that polishing goes on and on")),
        "smallest": ("run", ends.smallest, _named("smallest eigenvalue of the Hessian")),
        "largest": ("run", ends.largest, _named("largest eigenvalue of the Hessian")),
        "nullity": ("run", ends.nullity, _named("eigenvalues without a sign")),
        "resolution": ("run", ends.resolution, _named("eigenvalues within it have no sign")),
        "kantorovich": ("run", ends.kantorovich, _named("below 1/2 a critical point is near by")),
        "floor_length": ("run", ends.floor_length, _named("how far the cost stayed the same")),
        "slope": ("run", ends.slope, _named("slope where the cost has no derivative")),
        "dead": ("run", ends.dead, _named("parameters that change nothing")),
        "count": ("minimum", count, _named("runs that ended there")),
        "share": ("minimum", share.share, _named("share of the runs")),
        "share_low": ("minimum", share.low, _named("lower end of the interval")),
        "share_high": ("minimum", share.high, _named("upper end of the interval")),
        "first": ("minimum", first, _named("run that stands for the minimum")),
        "minimum_cost": ("minimum", ends.cost[first], _named("cost")),
        "sharpness": ("minimum", ends.largest[first], _named("largest eigenvalue")),
        "least_curvature": ("minimum", ends.smallest[first], _named("smallest eigenvalue")),
        "minimum_nullity": ("minimum", ends.nullity[first], _named("eigenvalues that are zero")),
        "width": ("minimum", _width(found), _named("largest distance between ends in the group")),
        "floor_of": ("run", level.label.astype(np.int32), _named("number of its floor, or -1")),
        "floor_count": ("floor", floor_count, _named("runs that ended on it")),
        "floor_share": ("floor", floor_share.share, _named("share of the runs")),
        "floor_share_low": ("floor", floor_share.low, _named("lower end of the interval")),
        "floor_share_high": ("floor", floor_share.high, _named("upper end of the interval")),
        "floor_first": ("floor", level.first, _named("run that stands for the floor")),
        "floor_cost": ("floor", ends.cost[level.first], _named("cost")),
        "floor_nullity": ("floor", ends.nullity[level.first], _named("dimension")),
        "floor_sharpness": ("floor", ends.largest[level.first], _named("largest eigenvalue")),
        "groups": ("tolerance", joined.astype(int), _named("number of minima")),
        **_numbers(found, between, same),
    }
    for name, (values, long_name, units) in measured.items():
        data[name] = ("minimum", values, {"long_name": long_name or name, "units": units})
    if same is not None:
        for dim, name, numbers in (
            ("minimum", "same_outputs", same.label[: len(first)]),
            ("floor", "floor_same_outputs", same.label[len(first) :]),
        ):
            data[name] = (dim, numbers, _named("number of the function computed"))
        data["output_groups"] = (
            "tolerance",
            counts(same.heights, TOLERANCES),
            _named("number of functions"),
        )
    if between is not None:
        data |= _pairs(between)
    for name, leaf in named_leaves("params", params).items():
        inner = tuple(f"{name.removeprefix('params.')}[{i}]" for i in range(leaf.ndim - 1))
        data[name] = (("minimum", *inner), leaf, _named(f"parameters: {name}"))
    if len(first):
        data |= {f"unseen_{k}": ((), v) for k, v in _unseen(count).items()}
    if len(level.first):
        data |= {f"unseen_floor_{k}": ((), v) for k, v in _unseen(floor_count).items()}
    return xr.Dataset(
        data, {"tolerance": ("tolerance", TOLERANCES, _named("tolerance of the groups"))}
    )


def _named(long_name):
    return {"long_name": long_name, "units": "1"}


def _codes(long_name, statuses):
    return {
        "long_name": long_name,
        "flag_values": [int(status) for status in statuses],
        "flag_meanings": " ".join(status.name.lower() for status in statuses),
    }


def _unseen(count):
    return {k: float(v) for k, v in counting.unseen(count)._asdict().items()}


def _width(found):
    """Of each minimum's group; of several that were merged, the widest."""
    if found.groups is None:
        return np.zeros(0)
    label = found.label[found.label >= 0]
    widest = np.zeros(len(found.first))
    np.maximum.at(widest, label, found.groups.width[found.groups.label])
    return widest


def _numbers(found, between, same):
    """What the tolerance decides, as plain numbers."""
    numbers = {}
    if found.groups is not None:
        gap = found.groups.gap
        if between is not None and between.matched_distance is not None:
            count = len(between.matched_distance)
            gap = min(gap, float(np.min(between.matched_distance + np.diag([np.inf] * count))))
        to = min(found.groups.stable_to, gap)
        numbers = {
            "gap": (gap, "smallest distance between two minima"),
            "stable_from": (found.groups.stable_from, "least tolerance with as many groups"),
            "stable_to": (to, "tolerance from which on there are fewer"),
        }
    if same is not None:
        numbers["functions"] = (int(same.label.max()) + 1, "different functions computed")
        numbers["output_gap"] = (same.gap, "smallest difference between two functions")
    return {name: ((), value, _named(text)) for name, (value, text) in numbers.items()}


def _pairs(between: Barriers) -> dict[str, Any]:
    """Matrices between minima, and a map of the distances."""
    distance = between.distance if between.matched_distance is None else between.matched_distance
    position, shown = in_the_plane(distance)
    found = {
        "barrier": (between.barrier, "rise of the cost on the straight line"),
        "matched_barrier": (between.matched_barrier, "the same after matching"),
        "distance": (between.distance, "distance"),
        "matched_distance": (between.matched_distance, "distance after matching"),
    }
    dims = ("compared", "compared_with")
    return {
        **{k: (dims, v, _named(text)) for k, (v, text) in found.items() if v is not None},
        "position": (("compared", "plane"), position, _named("map of the distances")),
        "position_share": ((), shown, _named("share of the distances that the map shows")),
    }
