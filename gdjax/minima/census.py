"""Censuses of the distinct minima among the end points of many descents.

    end points -> polished -> classified -> in canonical form -> clusters -> Dataset of minima

Only classified minima are counted. Other end points are reported by their `Kind`, such as
SADDLE, NO_DERIVATIVE, SLIDING or DIVERGED. Polishing finds a minimum also where the descent did not
arrive or cannot stay, so each end and each minimum has an `EndState`.

Two end points are considered the same minimum if a chain of end points leads from one to the other
with no step longer than a tolerance (`cluster_points`). Networks are first brought to their
canonical form, with coordinates on which the cost of no run depends set to 0, and are compared by
their distances in `coordinates`, so networks that differ only by a symmetry are one minimum.

If minima form manifolds, the runs end at different points of them. Manifolds have a separate
dimension in the Dataset, and points that a path of equal cost connects are on one manifold
(`cluster_manifolds`). Statistics of minima do not include manifolds.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Key, PyTree
from scipy.sparse.csgraph import connected_components

from gdjax.base import progress
from gdjax.base.arguments import check_number
from gdjax.base.errors import InputError, warn
from gdjax.base.keys import check_key, run_keys
from gdjax.base.quantities import document
from gdjax.curvature.critical_points.classification import Kind
from gdjax.curvature.stability_limits import relative_stability
from gdjax.minima.barriers import pairwise_barriers
from gdjax.minima.census_by import by_setting
from gdjax.minima.census_dataset import QUANTITIES, Descents, Minima, Readers, census_dataset
from gdjax.minima.clustering import cluster_manifolds, cluster_points
from gdjax.minima.end_points import (
    DISTANCE_TOLERANCE,
    GRADIENT_TOLERANCE,
    ISOLATED_MINIMA,
    MAX_STEPS,
    classify_end_points,
)
from gdjax.minima.end_states import advice, end_states
from gdjax.minima.finished_runs import (
    FinishedRuns,
    finished_runs,
    with_settings_in_data,
)
from gdjax.minima.optimizer_decay import cost_of_descent
from gdjax.minima.paths import POINTS
from gdjax.minima.symmetry import canonicalize, coordinates
from gdjax.problems.evaluation import deterministic_cost
from gdjax.problems.problem import Problem, require_problem
from gdjax.problems.traces import problem_at
from gdjax.problems.validation import check_runs
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import AxisValue, is_static
from gdjax.sweeps.binding import with_settings
from gdjax.sweeps.continued.stored import StoredSweep, require_problem_of

if TYPE_CHECKING:
    import xarray as xr

MAX_COMPARED = 64  # maximum number of minima (lowest first) with pairwise barriers
PHASES = ("polishing and classifying", "barriers", "manifolds")


class Options(NamedTuple):
    """Tolerances of a census; see `count_minima`."""

    distance_tolerance: float
    output_tolerance: float
    gradient_tolerance: float
    max_steps: int
    points: int


@document(QUANTITIES)
def count_minima(
    problem: Problem | None,
    runs: PyTree,
    at: Mapping[str, AxisValue] | None = None,
    *,
    by: str | Sequence[str] | None = None,
    key: Key[Array, ""] | None = None,
    learning_rate: ArrayLike | None = None,
    make_optimizer: Callable | None = None,
    distance_tolerance: float = DISTANCE_TOLERANCE,
    output_tolerance: float = 1e-3,
    gradient_tolerance: float = GRADIENT_TOLERANCE,
    max_steps: int = MAX_STEPS,
    points: int = POINTS,
    allow_unverified: bool = False,
    skip_damaged: bool = False,
) -> "xr.Dataset":
    """Find the distinct minima among the end points of many runs.

    The time is proportional to the number of runs and grows with the number of parameters, up to
    its cube, since the dense Hessian of each end point with up to 2,048 parameters is decomposed.
    Barriers between all pairs of up to 64 minima follow. Progress bars show phases, completed runs
    and paths.

    Each end and each minimum has a state (`gdjax.minima.EndState`): reached, near, or a minimum
    that descents at this learning rate cannot hold. The shares of basins, and the estimates of
    unseen minima, are those of the ends that were reached. A warning says if these are few.

    If the optimizer adds decay that the cost lacks, the minima are those of the cost that it
    minimizes, cost + decay |params|^2 / 2, and a warning says so.

    Args:
        problem: problem whose cost over all its data was minimized. If it has a network, minima are
            compared up to its symmetries; if it has `predict`, also by their outputs. None
            means the problem that a store records; another must agree with it.
        runs: a sweep: its Dataset, or the path or URL of its store, to which it may still be
            writing, without unfinished runs; or parameters at which runs stopped, in arrays whose
            leading axis indexes the runs, NaN for runs that diverged.
        at: values of some axes of the sweep, by name, to which its runs are restricted.
        by: one or more axes of the sweep, for whose values minima are counted separately. One
            compilation serves all values. The result is that of `gdjax.minima.census_by`.
        key: random key for probes and for the starts of matching; None is valid for a sweep, whose
            root seed then determines the key, so equal sweeps have equal censuses.
        learning_rate: learning rate of runs that are given as arrays. Without it, these are any
            points: their shares count all that were polished to a minimum, in any state.
        make_optimizer: factory of the optimizer, as in `gd.sweep`; by default that of the sweep's
            record, which cannot contain a function of the user, and `optax.sgd` for arrays.
        distance_tolerance: longest step within a cluster, in the units of the parameters; also the
            largest uncertainty of the position of a minimum.
        output_tolerance: longest step within a cluster of minima with equal outputs, as the root
            mean square of the difference of outputs.
        gradient_tolerance: largest gradient norm that counts as zero (see `classify_end_points`).
        max_steps: maximum number of polishing steps (see `classify_end_points`).
        points: number of points on each path between two minima, before refinement.
        allow_unverified: whether to accept a problem that cannot be compared with that of the
            store, as in `resume`.
        skip_damaged: whether to omit the runs of damaged tiles of the store, like unfinished runs.

    Returns:
        A Dataset. The number of distinct minima is the size of the dimension `minimum`, and that of
        manifolds of minima the size of `manifold`, both ordered by cost. Each `run` of a sweep has
        the values of its axes as coordinates. Pairs of minima, `compared` and `compared_with`, are
        those of the 64 lowest; to go around their barriers, see `gdjax.minima.curve`.

        {quantities}
        - `params...` (minimum, ...) and the problem's metrics (minimum): those of the
          representative run in its original form, since flips of sigmoids change eigenvalues.
        - `unseen_...`: estimates of minima that were not found (`estimate_unseen`), and
          `unseen_manifold_...` of manifolds.

    Raises:
        InputError: if the cost changes under the symmetries of the network or between runs, or if
            the optimizer minimizes no cost.

    Examples:
        Forty starts on a function with four minima:

        >>> from gdjax.minima import count_kinds
        >>> from gdjax.problems import from_function
        >>> problem = from_function("himmelblau")
        >>> starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 40))
        >>> result = count_minima(problem, starts, key=jax.random.key(1))
        >>> result.sizes["minimum"], count_kinds(result)
        (4, {'strict minimum': 40})

        A sweep:

        >>> from gdjax.sweeps import axes, sweep
        >>> grid = axes(learning_rate=[0.01, 0.02], seed=range(10))
        >>> walks = sweep(from_function("quartic"), grid, 400)
        >>> result = count_minima(from_function("quartic"), walks, {"learning_rate": 0.02})
        >>> result.sizes["run"], result.sizes["minimum"], int(result.reached.sum())
        (10, 2, 10)
        >>> count_minima(from_function("quartic"), walks, by="learning_rate").minima.values.tolist()
        [2, 2]
    """
    check_number("output_tolerance", output_tolerance, least=0)
    options = Options(distance_tolerance, output_tolerance, gradient_tolerance, max_steps, points)
    attributes = {}
    if isinstance(runs, StoreLike):
        stored = StoredSweep(runs, problem, None, allow_unverified, skip_damaged)
        problem = stored.problem
        attributes = {"store": str(runs), "problem": stored.identity["problem"]}
        runs = stored.dataset
    require_problem(problem)
    assert isinstance(problem, Problem)
    is_sweep = hasattr(runs, "data_vars")
    if is_sweep:
        if identity := json.loads(runs.attrs.get("identity", "{}")):
            key = run_keys(identity["root_seed"]).probes if key is None else key
            if not attributes and "functions" in identity:
                require_problem_of(problem, identity, "runs", allow_unverified=allow_unverified)
        ended = finished_runs(problem, runs, at or {}, make_optimizer)
    elif at is not None or by is not None:
        name, value = ("at", at) if at is not None else ("by", by)
        raise InputError(
            f"count_minima: {name} = {value!r:.80}, expected None for runs without axes"
        )
    else:
        ended = _points(problem, runs, learning_rate, make_optimizer)
    check_key(key)
    names = (by,) if isinstance(by, str) else tuple(by or ())
    groups = ended.groups(names)
    is_descent = is_sweep or learning_rate is not None
    with progress.bar(total=len(groups) * len(PHASES), unit="phase", delay=0) as bar:
        censuses = _censuses(problem, ended, groups, key, options, is_descent, bar)
    attributes |= {
        **{name: getattr(options, name) for name in Options._fields[:3]},
        "compared": "coordinates of the canonical form" if problem.network else "parameters",
    }
    census = next(iter(censuses.values())).assign_attrs(result="census")
    if by is not None:
        census = by_setting(censuses, names)
    if census.attrs["advice"]:
        warn(f"count_minima: {census.attrs['advice']}")
    return census.assign_attrs(attributes)


def _points(problem, runs, learning_rate, make_optimizer):
    """Return runs that are given as arrays."""
    count = check_runs(problem, runs)
    optimizer = {}
    if learning_rate is not None:
        rates = np.ravel(np.asarray(learning_rate, float))
        if len(rates) not in (1, count) or not np.all(np.isfinite(rates) & (rates > 0)):
            raise InputError(
                f"count_minima: learning_rate = {learning_rate!r:.80}, expected one number above "
                f"0, or one for each of {count} runs"
            )
        optimizer = {"learning_rate": np.resize(rates, count)}
        if make_optimizer is None:
            make_optimizer = optax.sgd
    return FinishedRuns(runs, {}, {}, optimizer, make_optimizer)


def _censuses(problem, ended, groups, key, options, is_descent, bar):
    """Return the census of each group of runs; one program serves all groups."""
    key_check, key_ends, key_pairs, key_manifolds = jax.random.split(key, 4)
    most = max(map(len, groups.values()))
    programs, readers, censuses = {}, {}, {}
    for values, index in groups.items():
        settings = {name: array[index[0]].item() for name, array in ended.cost.items()}
        static = {name: v for name, v in settings.items() if is_static(name, ended.cost[name])}
        numbers = {name: v for name, v in settings.items() if name not in static}
        params = jax.tree.map(lambda leaf, i=index: np.asarray(leaf)[i], ended.params)
        fixed = with_settings(problem, static)
        check_runs(with_settings(fixed, numbers), params)
        decay = cost_of_descent(ended, index, params)
        own = with_settings_in_data(fixed, numbers, decay)
        # The program of an earlier group is used again, with the numbers of this one as its data.
        known = programs.setdefault((*static.items(), decay is None), own)
        own = _with_data_of(known, own)
        own = problem_at(own, jax.tree.map(lambda leaf: leaf[0], params))
        reader = readers.setdefault(tuple(static.items()), Readers(fixed))
        _check_symmetric(own, key_check)

        def show(phase, values=values):
            bar.set_description(" ".join([PHASES[phase], *map(str, values)]))
            bar.update()

        show(0)
        # Slabs of the same number of runs need one program.
        repeated = jax.tree.map(lambda leaf: leaf[np.arange(most) % len(leaf)], params)
        ends = classify_end_points(
            own,
            repeated,
            key=key_ends,
            distance_tolerance=options.distance_tolerance,
            gradient_tolerance=options.gradient_tolerance,
            max_steps=options.max_steps,
        ).rows(np.arange(len(index)))
        with jax.enable_x64(True):
            show(1)
            minima, canonical, pairs = _compared_minima(own, ends, key_pairs, options)
            show(2)
            manifolds = _cluster_manifolds(own, ends, canonical, key_manifolds)
            descents, sentence = _descents(ended, index, ends, minima, manifolds, pairs, is_descent)
            census = census_dataset(
                reader,
                numbers,
                ends,
                minima,
                manifolds,
                pairs,
                descents,
                options.output_tolerance,
            )
        along = {name: ("run", array[index]) for name, array in ended.along.items()}
        censuses[values] = census.assign_coords(along).assign_attrs(advice=sentence)
    return censuses


def _with_data_of(known, own):
    return known if known is own else dataclasses.replace(known, data=own.data)


def _descents(ended, index, ends, minima, manifolds, pairs, is_descent):
    """Return the states of the ends of descents, and a sentence on them."""
    largest, before, moved = (
        ends.runs[name].values for name in ("largest", "gradient_norm_before", "moved")
    )
    nearest = np.full(len(minima.representatives) + 1, np.inf)  # the last of runs at no minimum
    if pairs is not None:
        distance = pairs.smallest_distance + np.diag([np.inf] * len(pairs.distance))
        nearest[:-1] = np.min(distance)
        nearest[: len(distance)] = distance.min(axis=1)
    relative = moved / nearest[minima.labels]
    arguments = {name: array[index] for name, array in ended.optimizer.items()}
    stability = relative_stability(ended.make_optimizer, arguments, largest)
    is_minimum = (minima.labels >= 0) | (manifolds.labels >= 0)
    state = end_states(is_minimum, before, relative, stability)
    drawn = state == 1 if is_descent else is_minimum
    is_known = ended.make_optimizer is not None
    sentence = advice(state, stability, ends.runs, arguments, is_known) if is_descent else ""
    return Descents(state, relative, stability, drawn), sentence


def _compared_minima(problem, ends, key, options):
    """Return the minima, all parameters in canonical form, and barriers between minima."""
    canonical, points = _canonical_points(problem, ends)
    minima = _cluster_minima(ends, points, options.distance_tolerance)
    pairs = _barriers_between(problem, canonical, minima, key, options.points)
    if pairs is not None:
        merged = _merge_matched(ends, minima, pairs.smallest_distance, options.distance_tolerance)
        if len(merged.representatives) < len(minima.representatives):
            minima = merged
            pairs = _barriers_between(problem, canonical, minima, key, options.points)
    return minima, canonical, pairs


def _check_symmetric(problem, key):
    """Check that symmetries do not change the cost, as they do with decay of biases."""
    if problem.network is None:
        return
    key_init, *keys = jax.random.split(key, 1 + len(problem.network.widths))
    params = problem.init(key_init)
    # Biases are often initialized to 0, where most differences vanish.
    params = tuple(
        layer._replace(bias=layer.bias + jax.random.normal(k, layer.bias.shape))
        for layer, k in zip(params, keys, strict=False)
    )
    evaluation, data = deterministic_cost(problem), jax.tree.map(jnp.asarray, problem.data)
    if problem.evaluation is None and not problem.random and data is not None:
        evaluation = problem.cost  # a new function would be compiled again
    cost = jax.jit(evaluation)
    before, after = (float(cost(p, data)) for p in (params, canonicalize(problem.network, params)))
    if not abs(after - before) <= 1e-4 * max(abs(before), 1e-30):
        raise InputError(
            f"problem: the cost of a network is {before:.6g} and that of its canonical form "
            f"{after:.6g}, expected equal costs (decay of biases is a common reason for a "
            f"difference). Leave biases out of the decay, or use dataclasses.replace(problem, "
            f"network=None)"
        )


def _canonical_points(problem, ends):
    """Return parameters in canonical form, and the points for distances.

    Coordinates on which no run's cost depends are set to 0, since they keep their initial values.
    """
    finite = ends.kind != Kind.DIVERGED

    def without_dead(leaf, live):
        return np.where(live[finite].any(axis=0) | ~finite.any(), leaf, 0)

    params = points = jax.tree.map(without_dead, ends.params, ends.live)
    if problem.network is not None:
        params, points = jax.tree.map(np.asarray, _canonical(problem.network, params))
    flat = [np.asarray(leaf).reshape(len(finite), -1) for leaf in jax.tree.leaves(points)]
    return params, np.concatenate(flat, axis=1)


@partial(jax.jit, static_argnums=0)
@partial(jax.vmap, in_axes=(None, 0))
def _canonical(network, params):
    params = canonicalize(network, params)
    return params, coordinates(network, params)


def _cluster_minima(ends, points, tolerance):
    """Return the clusters of classified isolated minima."""
    runs = np.flatnonzero(np.isin(ends.kind, ISOLATED_MINIMA))
    if not len(runs):
        return _number_by_cost(ends, runs, runs)
    clusters = cluster_points(points[runs], tolerance)
    return _number_by_cost(ends, runs, clusters.labels, clusters)


def _cluster_manifolds(problem, ends, canonical, key):
    """Return the connected manifolds of classified minima."""
    runs = np.flatnonzero(ends.kind == Kind.MANIFOLD_OF_MINIMA)
    if not len(runs):
        return _number_by_cost(ends, runs, runs)
    points = jax.tree.map(lambda leaf: leaf[runs], canonical)
    cost, largest = (ends.runs[name].values[runs] for name in ("cost", "largest"))
    labels = cluster_manifolds(problem, points, cost, sharpness=largest, key=key)
    return _number_by_cost(ends, runs, labels)


def _number_by_cost(ends, runs, labels, clusters=None):
    """Number the clusters of some runs by ascending cost, and choose representatives."""
    cost, gradient_norm = (ends.runs[name].values for name in ("cost", "gradient_norm"))
    by_gradient = runs[np.lexsort((runs, gradient_norm[runs]))]
    label_of = dict(zip(runs.tolist(), labels.tolist(), strict=True))
    first = {label_of[run]: run for run in reversed(by_gradient.tolist())}
    # The order of costs that differ only by rounding is arbitrary, so the first run decides.
    scale = 1e-9 * max(1.0, np.max(np.abs(cost[runs]), initial=0.0))
    order = sorted(first, key=lambda c: (round(cost[first[c]] / scale), first[c]))
    number = {c: i for i, c in enumerate(order)}
    numbers = np.full(len(ends.kind), -1)
    numbers[runs] = [number[c] for c in labels.tolist()]
    return Minima(numbers, np.array([first[c] for c in order], int), clusters)


def _merge_matched(ends, minima, distance, tolerance):
    """Merge minima that are equal after matching but were separated by ties."""
    components = connected_components(distance <= tolerance)[1]
    runs = np.flatnonzero(minima.labels >= 0)
    labels = minima.labels[runs]
    # Minima that were not compared are left unchanged.
    labels = np.where(
        labels < len(components),
        components[np.minimum(labels, len(components) - 1)],
        labels + len(components),
    )
    return _number_by_cost(ends, runs, labels, minima.clusters)


def _barriers_between(problem, params, minima, key, points):
    """Return barriers between the lowest minima; None with fewer than two."""
    if len(minima.representatives) < 2:
        return None
    lowest = jax.tree.map(lambda leaf: leaf[minima.representatives[:MAX_COMPARED]], params)
    return pairwise_barriers(problem, lowest, key=key, points=points)
