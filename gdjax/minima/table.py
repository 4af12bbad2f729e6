"""What a census writes down: a Dataset of runs, minima and floors, and of what lies between them.

    a run: its kind, minimum and floor;   a minimum, a floor: how often, how low, how sharp

Where a tolerance decides, the numbers that others would have given stand beside it.

>>> named("cost")
{'long_name': 'cost', 'units': '1'}
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, PyTree

from gdjax.flags import flags
from gdjax.minima import counting
from gdjax.minima.ends import End, Ends
from gdjax.minima.grouping import Groups, counts, groups, in_the_plane
from gdjax.minima.pairs import Barriers
from gdjax.sweeps.dataset import named_leaves

TOLERANCES = np.geomspace(1e-9, 1e3, 121)  # at which groups are counted, too


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


def dataset(
    ends: Ends,
    found: Minima,
    level: Floors,
    between: Barriers | None,
    params: PyTree,
    measured: Mapping[str, tuple],
    outputs: Float[np.ndarray, "points outputs"] | None,
    output_tolerance: float,
) -> Any:
    """The Dataset of a census, as `gdjax.minima.census.census` describes it.

    Args:
        ends: of all runs.
        found: minima, in groups.
        level: floors, joined by paths.
        between: barriers and distances between the lowest minima; None with fewer than two.
        params: of the runs that stand for minima.
        measured: for each measure its values there, a long name and units.
        outputs: what minima, then floors, compute; None where that is not known.
        output_tolerance: longest step within a group that computes the same.
    """
    import xarray as xr

    first, runs = found.first, len(ends.kind)
    count = np.bincount(found.label[found.label >= 0], minlength=len(first))
    share = _shares(count, runs)
    same = groups(outputs, output_tolerance) if outputs is not None else None
    floor_count = np.bincount(level.label[level.label >= 0], minlength=len(level.first))
    floor_share = _shares(floor_count, runs)
    heights = found.groups.heights if found.groups is not None else np.zeros(0)
    joined = counts(heights, TOLERANCES) if found.groups is not None else 0 * TOLERANCES
    data = {
        "kind": ("run", ends.kind.astype(np.int8), {**named("kind of point"), **flags(End)}),
        "minimum_of": ("run", found.label.astype(np.int32), named("number of its minimum, or -1")),
        "cost_before": ("run", ends.cost_before, named("cost where the run stopped")),
        "cost": ("run", ends.cost, named("cost after polishing")),
        "gradient_norm_before": (
            "run",
            ends.gradient_norm_before,
            named("norm of the gradient where the run stopped"),
        ),
        "gradient_norm": ("run", ends.gradient_norm, named("the same after polishing")),
        "moved": ("run", ends.moved, named("distance that polishing went")),
        "slid": ("run", ends.slid, named("distance that polishing goes on and on")),
        "smallest": ("run", ends.smallest, named("smallest eigenvalue of the Hessian")),
        "largest": ("run", ends.largest, named("largest eigenvalue of the Hessian")),
        "nullity": ("run", ends.nullity, named("eigenvalues without a sign")),
        "resolution": ("run", ends.resolution, named("eigenvalues within it have no sign")),
        "kantorovich": ("run", ends.kantorovich, named("below 1/2 a critical point is near by")),
        "floor_length": ("run", ends.floor_length, named("how far the cost stayed the same")),
        "slope": ("run", ends.slope, named("slope where the cost has no derivative")),
        "dead": ("run", ends.dead, named("parameters that change nothing")),
        "count": ("minimum", count, named("runs that ended there")),
        "share": ("minimum", share.share, named("share of the runs")),
        "share_low": ("minimum", share.low, named("lower end of the interval")),
        "share_high": ("minimum", share.high, named("upper end of the interval")),
        "first": ("minimum", first, named("run that stands for the minimum")),
        "minimum_cost": ("minimum", ends.cost[first], named("cost")),
        "sharpness": ("minimum", ends.largest[first], named("largest eigenvalue")),
        "least_curvature": ("minimum", ends.smallest[first], named("smallest eigenvalue")),
        "minimum_nullity": ("minimum", ends.nullity[first], named("eigenvalues that are zero")),
        "width": ("minimum", _width(found), named("largest distance between ends in the group")),
        "floor_of": ("run", level.label.astype(np.int32), named("number of its floor, or -1")),
        "floor_count": ("floor", floor_count, named("runs that ended on it")),
        "floor_share": ("floor", floor_share.share, named("share of the runs")),
        "floor_share_low": ("floor", floor_share.low, named("lower end of the interval")),
        "floor_share_high": ("floor", floor_share.high, named("upper end of the interval")),
        "floor_first": ("floor", level.first, named("run that stands for the floor")),
        "floor_cost": ("floor", ends.cost[level.first], named("cost")),
        "floor_nullity": ("floor", ends.nullity[level.first], named("dimension")),
        "floor_sharpness": ("floor", ends.largest[level.first], named("largest eigenvalue")),
        "groups": ("tolerance", joined.astype(int), named("number of minima")),
        **_numbers(found, between, same),
    }
    for name, (values, long_name, units) in measured.items():
        data[name] = ("minimum", values, {"long_name": long_name or name, "units": units})
    if same is not None:
        for dim, name, numbers in (
            ("minimum", "same_outputs", same.label[: len(first)]),
            ("floor", "floor_same_outputs", same.label[len(first) :]),
        ):
            data[name] = (dim, numbers, named("number of the function computed"))
        data["output_groups"] = (
            "tolerance",
            counts(same.heights, TOLERANCES),
            named("number of functions"),
        )
    if between is not None:
        data |= _pairs(between)
    for name, leaf in named_leaves("params", params).items():
        inner = tuple(f"{name.removeprefix('params.')}[{i}]" for i in range(leaf.ndim - 1))
        data[name] = (("minimum", *inner), leaf, named(f"parameters: {name}"))
    if len(first):
        data |= {f"unseen_{k}": ((), v) for k, v in _unseen(count).items()}
    if len(level.first):
        data |= {f"unseen_floor_{k}": ((), v) for k, v in _unseen(floor_count).items()}
    return xr.Dataset(
        data, {"tolerance": ("tolerance", TOLERANCES, named("tolerance of the groups"))}
    )


def named(long_name: str) -> dict[str, str]:
    """Attributes of a number without a unit."""
    return {"long_name": long_name, "units": "1"}


def _shares(count, runs):
    """Of each point among all runs; of none where none was found."""
    if not len(count):
        return counting.Shares(*[np.zeros(0)] * 3, unseen_high=1.0)
    return counting.shares(count, runs)


def _unseen(count):
    return {k: float(v) for k, v in counting.estimate_unseen(count)._asdict().items()}


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
        if between is not None:
            apart = between.closest_distance
            gap = min(gap, float(np.min(apart + np.diag([np.inf] * len(apart)))))
        to = min(found.groups.stable_to, gap)
        numbers = {
            "gap": (gap, "smallest distance between two minima"),
            "stable_from": (found.groups.stable_from, "least tolerance with as many groups"),
            "stable_to": (to, "tolerance from which on there are fewer"),
        }
    if same is not None:
        numbers["functions"] = (int(same.label.max()) + 1, "different functions computed")
        numbers["output_gap"] = (same.gap, "smallest difference between two functions")
    return {name: ((), value, named(text)) for name, (value, text) in numbers.items()}


def _pairs(between: Barriers) -> dict[str, Any]:
    """Matrices between minima, and a map of the distances."""
    position, shown = in_the_plane(between.closest_distance)
    unknown = "" if between.symmetries_known else " (NaN: symmetries unknown without a network)"
    found = {
        "barrier": (between.barrier, "rise of the cost on the straight line"),
        "matched_barrier": (between.matched_barrier, "the same after matching" + unknown),
        "distance": (between.distance, "distance"),
        "matched_distance": (between.matched_distance, "distance after matching" + unknown),
    }
    dims = ("compared", "compared_with")
    return {
        **{k: (dims, v, named(text)) for k, (v, text) in found.items()},
        "position": (("compared", "plane"), position, named("map of the distances")),
        "position_share": ((), shown, named("share of the distances that the map shows")),
    }
