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
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Key, PyTree

from gdjax.base import documents, progress
from gdjax.base.arguments import (
    check_callable,
    check_limits,
    check_numbers,
    check_whole,
)
from gdjax.base.arrays import document
from gdjax.base.errors import InputError, warn
from gdjax.base.keys import check_key, run_keys
from gdjax.base.limits import NotNegative, Positive
from gdjax.curvature.stability_limits import relative_stability
from gdjax.minima.census_by import by_setting
from gdjax.minima.census_dataset import QUANTITIES, Descents, Readers, census_dataset
from gdjax.minima.distinct import check_symmetric, compared_minima, connected_minima
from gdjax.minima.end_points import (
    DISTANCE_TOLERANCE,
    GRADIENT_TOLERANCE,
    MAX_STEPS,
    classify_end_points,
)
from gdjax.minima.end_states import advice, end_states
from gdjax.minima.finished_runs import (
    FinishedRuns,
    finished_runs,
    opened,
    with_settings_in_data,
)
from gdjax.minima.optimizer_decay import cost_of_descent
from gdjax.minima.paths import POINTS
from gdjax.problems.facts import check_runs, problem_at
from gdjax.problems.problem import Problem, require_problem
from gdjax.problems.run_settings import at_settings_of
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import AxisValue, is_static
from gdjax.sweeps.binding import with_settings
from gdjax.sweeps.dataset import OF_COST

if TYPE_CHECKING:
    import xarray as xr

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

    Each end and each minimum has a state: reached, near, or a minimum
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
        [2.0, 2.0]
    """
    check_limits("output_tolerance", output_tolerance, NotNegative)
    check_whole("count_minima: points", points, 2)
    if make_optimizer is not None:
        check_callable("make_optimizer", make_optimizer, "a factory, such as optax.adam")
    names = (by,) if isinstance(by, str) else tuple(by) if isinstance(by, tuple | list) else ()
    if by is not None and not (names and all(isinstance(name, str) for name in names)):
        raise InputError(f"count_minima: by = {by!r:.80}, expected names of axes, such as 'decay'")
    options = Options(distance_tolerance, output_tolerance, gradient_tolerance, max_steps, points)
    attributes = {"store": str(runs)} if isinstance(runs, StoreLike) else {}
    is_sweep = bool(attributes) or hasattr(runs, "data_vars")
    if is_sweep:
        problem, runs = opened(problem, runs, allow_unverified, skip_damaged)
        identity = documents.recorded_identity(runs)
        if attributes:
            attributes["problem"] = identity["problem"]
        if identity:
            key = run_keys(identity["root_seed"]).probes if key is None else key
        ended = finished_runs(problem, runs, at or {}, make_optimizer)
    elif at is not None or by is not None:
        name, value = ("at", at) if at is not None else ("by", by)
        raise InputError(
            f"count_minima: {name} = {value!r:.80}, expected None for runs without axes"
        )
    else:
        require_problem(problem)
        assert isinstance(problem, Problem)
        problem = at_settings_of(problem, runs)
        ended = _points(problem, runs, learning_rate, make_optimizer)
    check_key(key)
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
        shape = None if np.ndim(learning_rate) == 0 else (count,)
        check_numbers("count_minima: learning_rate", learning_rate, Positive, shape=shape)
        optimizer = {"learning_rate": np.resize(np.asarray(learning_rate, float), count)}
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
        point = jax.tree.map(lambda leaf: leaf[0], params)
        own, kind = problem_at(own, point), tuple(static.items())
        if kind not in readers:
            readers[kind] = Readers(fixed, point, numbers)
        check_symmetric(own, key_check)

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
            minima, canonical, pairs = compared_minima(
                own, ends, key_pairs, tolerance=options.distance_tolerance, points=options.points
            )
            show(2)
            manifolds = connected_minima(own, ends, canonical, key_manifolds)
            descents, sentence = _descents(ended, index, ends, minima, manifolds, pairs, is_descent)
            census = census_dataset(
                readers[kind],
                numbers,
                ends,
                minima,
                manifolds,
                pairs,
                descents,
                options.output_tolerance,
            )
        axes_of_cost = ended.cost_axes.values()
        along = {
            name: ("run", array[index], {"comment": OF_COST} if name in axes_of_cost else {})
            for name, array in ended.along.items()
        }
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
