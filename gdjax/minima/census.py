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

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.errors import InputError
from gdjax.minima.ends import GRADIENT_TOLERANCE, POINTS, STEPS, TOLERANCE, End, certify
from gdjax.minima.grouping import groups
from gdjax.minima.joined import floors
from gdjax.minima.pairs import barriers
from gdjax.minima.symmetry import canonical, coordinates
from gdjax.minima.table import Floors, Minima, dataset
from gdjax.problems.problem import Problem

COMPARED = 64  # minima between which paths are looked at: the lowest
PROBE = 1000  # samples on which outputs are compared


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
          problem's metrics, `same_outputs` (a number that minima share which compute the same),
          and parameters. These are those of the run `first`, as it was written down: flips of
          sigmoids change eigenvalues.
        - A `floor`, lowest first, has `floor_count`, `floor_share` with an interval, `floor_cost`,
          `floor_nullity`, `floor_sharpness`, `floor_first` and `floor_same_outputs`.
        - `unseen_*`: what is estimated about minima that were not found (`estimate_unseen`), and
          `unseen_floor_*` about floors.
        - `groups` and `output_groups` at other tolerances; `gap` is the smallest distance between
          two minima, `stable_from` and `stable_to` the tolerances between which the number of
          groups stays what it is.
        - For the lowest 64 minima: `barrier`, `matched_barrier`, `distance`, `matched_distance`
          between any two, and a map of these distances in the plane. What is matched is NaN where
          the problem has no network, since its symmetries are unknown then.

    Raises:
        InputError: as for `certify`; a cost that changes when hidden neurons are written down in
            another way.
    """
    key_door, key_ends, key_pairs, key_floors = jax.random.split(key, 4)
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
        if between is not None:
            merged = _merged(ends, found, between.closest_distance, tolerance)
            if len(merged.first) < len(found.first):
                found = merged
                between = _between(problem, canon, found, key_pairs)
        level = _floors(problem, ends, canon, key_floors)
        one = jax.tree.map(lambda leaf: leaf[found.first], ends.params)
        measured = _metrics(problem, one, len(found.first))
        stand = np.concatenate([found.first, level.first])
        outputs = _outputs(problem, jax.tree.map(lambda leaf: leaf[stand], ends.params), len(stand))
    attributes = {
        "tolerance": tolerance,
        "output_tolerance": output_tolerance,
        "gradient_tolerance": gradient_tolerance,
        "compared": "coordinates of the canonical form" if problem.network else "parameters",
    }
    return dataset(
        ends, found, level, between, one, measured, outputs, output_tolerance
    ).assign_attrs(attributes)


def kinds(found: Any) -> dict[str, int]:
    """How many runs of a census ended at each kind of point; kinds without any are left out."""
    return {
        end.label: int(np.sum(found["kind"].values == end))
        for end in End
        if np.any(found["kind"].values == end)
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


def _floors(problem, ends, canon, key):
    """Certified floors, those that a path joins as one."""
    runs = np.flatnonzero(ends.kind == End.FLOOR)
    if not len(runs):
        return Floors(np.full(len(ends.kind), -1), np.zeros(0, int))
    points = jax.tree.map(lambda leaf: np.asarray(leaf)[runs], canon)
    label = floors(problem, points, ends.cost[runs], sharpness=ends.largest[runs], key=key)
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


def _metrics(problem, params, count):
    """The problem's metrics at each minimum, those that are numbers of a point."""
    found = {}
    for name, metric in problem.metrics.items():
        if metric.is_of_a_point:
            at = jax.jit(lambda one, data, f=metric.function: f(one, data))
            data = jax.tree.map(jnp.asarray, metric.data)
            each = [at(jax.tree.map(lambda a, i=i: a[i], params), data) for i in range(count)]
            found[name] = (np.array(each, float), metric.long_name, metric.units)
    return found


def _outputs(problem, params, count):
    """What each minimum computes, a row each, scaled so that distances are root mean squares."""
    if problem.predict is None or problem.data is None or not count:
        return None
    test = problem.metrics.get("test_accuracy")
    inputs = jax.tree.leaves(problem.data if test is None else test.data)[0][:PROBE]
    at = jax.jit(problem.predict)
    rows = [
        np.ravel(at(jax.tree.map(lambda a, i=i: a[i], params), jnp.asarray(inputs)))
        for i in range(count)
    ]
    return np.stack(rows) / np.sqrt(rows[0].size)
