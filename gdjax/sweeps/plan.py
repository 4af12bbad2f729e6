"""What is decided before any work: whether a sweep can be done, and in slabs of which width.

    width = as many runs as fill a device's cache with their states, fewer if memory is short

The choice depends on the program and the device's memory, never on timings: the width decides the
last bits of the results.

>>> cut((12, 8), 96), cut((12, 64), 128), cut((4096,), 128)
((12, 8), (12, 8), (128,))
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import jax
import numpy as np

from gdjax import machine, runs
from gdjax.descent import driving
from gdjax.descent.batches import Order
from gdjax.descent.descent import check_counts
from gdjax.errors import InputError
from gdjax.problems.checks import check, check_measures, found_mean
from gdjax.problems.problem import Measure, Problem
from gdjax.sweeps import arrays
from gdjax.sweeps.axes import Axes, check_arguments, check_update, roles, traced
from gdjax.sweeps.tiles import Work

SLAB_BYTES = 2**24  # memory for the states of one CPU device's runs: about its cache
WIDEST = 4096  # runs a device at most
CROWDED = 32  # runs a device that are tried first; more if they leave a cache half empty


def draft(
    problem: Problem,
    axes: Axes,
    steps: int,
    *,
    optimizer: Callable,
    batch_size: int | None,
    record_every: int,
    snapshot_every: int | None,
    measures: Mapping[str, Measure] | None,
    root: int,
    bound: float,
    tolerance: float,
    until_settled: bool,
    devices: Sequence[jax.Device],
) -> Work:
    """A sweep whose arguments have been checked, its slab still of one run a device.

    Raises:
        InputError: arguments that cannot work.
    """
    if not isinstance(axes, Axes):
        raise InputError(f"axes = {axes!r:.80}, expected gd.axes(learning_rate=[...], ...)")
    check_counts(problem, steps, batch_size, record_every, snapshot_every)
    optimizer = same_for_equal(optimizer)
    found = roles(problem, optimizer, axes)
    if "data_seed" in found and batch_size is None:
        raise InputError(
            "axes: data_seed decides the order of mini-batches, but batch_size is None; give a "
            "batch size or leave the axis out"
        )
    check_arguments(optimizer, found)
    _check_size(axes)
    watched = dict(problem.measures if measures is None else measures)
    _check_names(axes, watched)
    work = Work(
        problem=problem,
        optimizer=optimizer,
        grid=axes,
        roles=found,
        plan=driving.Plan(
            first=0,
            steps=steps,
            record_every=record_every,
            snapshot_every=snapshot_every,
            cadence={name: measure.every for name, measure in watched.items()},
        ),
        batch_size=batch_size,
        measures=watched,
        root=root,
        bound=float(bound),
        tolerance=float(tolerance),
        until_settled=until_settled,
        slab=runs.Slab(1, tuple(devices)),
        box=(1,) * len(axes.shape),
    )
    params = work.params
    if batch_size is not None:
        Order((runs.streams(root).order,), problem.samples, batch_size)
    first = {
        role: {
            found[axis].keyword: values[0].item()
            for along in axes.dimensions.values()
            for axis, values in along.items()
            if found[axis].role == role
        }
        for role in ("init", "cost")
    }
    settings = first["cost"]
    # A real starting point: whether the cost is a mean over samples shows only in its values.
    start = params
    if problem.data is not None and not found_mean(problem, first["cost"]):
        start = jax.jit(partial(problem.init, **first["init"]))(runs.streams(root).init)
    check(problem, start, settings)
    check_measures(watched, params, settings)
    sample = () if problem.data is None else (problem.data,)
    traced(
        lambda **given: jax.eval_shape(partial(problem.cost, **given), params, *sample),
        "cost",
        found,
        axes,
    )
    check_update(optimizer, found, axes, params)
    return work


def same_for_equal(optimizer: Callable) -> Callable:
    """One object for all `functools.partial`s of equal content, so that none compiles again.

    Examples:
        >>> import optax
        >>> made = [same_for_equal(partial(optax.sgd, momentum=0.9)) for _ in range(2)]
        >>> made[0] is made[1]
        True
    """
    if not isinstance(optimizer, partial):
        return optimizer
    # 1 == 1.0 == True, but they are not the same to an optimizer.
    keywords = tuple((name, type(v), v) for name, v in sorted(optimizer.keywords.items()))
    try:
        return _partial(optimizer.func, optimizer.args, keywords)
    except TypeError:  # something in it has no hash
        return optimizer


@lru_cache(maxsize=64)
def _partial(function, arguments, keywords):
    return partial(function, *arguments, **{name: value for name, _, value in keywords})


def _check_size(axes):
    """Make sure that values survive in the type that the program computes in."""
    for name, values in ((n, v) for along in axes.dimensions.values() for n, v in along.items()):
        if name in ("seed", "data_seed"):
            continue
        dtype = jax.dtypes.canonicalize_dtype(values.dtype)
        with np.errstate(over="ignore"):
            kept = values.astype(dtype)
        lost = ~np.isfinite(kept) | ((kept == 0) != (values == 0))
        if values.dtype.kind == "i":
            lost |= kept != values
        if lost.any():
            raise InputError(
                f"axes: {name} = {values[lost][0]} does not fit in {dtype}; run the sweep under "
                f"jax.enable_x64, or choose values of a more usual size"
            )


def _check_names(axes, watched):
    names = {*axes.names, *axes.dimensions}
    own = {*arrays.OWN, *arrays.HEAVY}
    for name in (*names & {*own, *watched}, *watched.keys() & own):
        what, remedy = "measures", "give the measure another name"
        if name in names:
            what, remedy = "axes", f"qualify it, as in **{{'cost.{name}': [...]}}"
        raise InputError(f"{what}: {name} is an array that the sweep has already; {remedy}")


def fit(work: Work, width: int | None) -> Work:
    """Choose the slab: as wide as asked, or as fills a cache, narrower if memory is short.

    Raises:
        InputError: a width that was asked for does not fit in memory, or not even one run does.
    """
    if width is not None and (isinstance(width, bool) or width < 1):
        raise InputError(f"width = {width!r}, expected a whole number >= 1")
    devices = work.slab.devices
    limit = min(runs.memory_limit(device) for device in devices)
    if devices[0].platform == "cpu":
        limit //= len(devices)  # they share the host's
        budget = SLAB_BYTES
    else:
        budget = limit // 64
    fitting = 2 ** int(np.log2(max(budget // work.state_bytes, 1)))
    most = width or min(fitting, WIDEST)
    wanted = min(most, CROWDED) if width is None else width
    widened = width is not None
    while True:
        box = cut(work.grid.shape, wanted * len(devices))
        wide = width or -(-math.prod(box) // len(devices))
        work = dataclasses.replace(work, slab=runs.Slab(wide, devices), box=box)
        scratch, need = work.memory()
        if need > limit:
            widened = True
            if width is not None or wide == 1:
                raise InputError(
                    f"width = {wide}: a slab needs {need / 2**20:,.0f} MiB a device, which has "
                    f"{limit / 2**20:,.0f}; "
                    + (
                        "choose a smaller width"
                        if wide > 1
                        else "take fewer samples, a smaller batch_size or fewer snapshots"
                    )
                )
            wanted = wide // 2
            continue
        # Runs with small states may have large activations: 262,144 networks of two 8-wide layers
        # took 2.4 times as long 4,096 at a time as 256 at a time.
        room = 2 ** int(np.log2(max(budget / max(scratch, 1), 1)))
        if widened or wanted == most or room == 1 or math.prod(box) == math.prod(work.grid.shape):
            return work
        wanted, widened = min(most, wanted * room), True


@lru_cache
def mention_cores() -> None:
    """Say once what a CPU's other cores would gain."""
    cores = machine.cores()
    devices = jax.local_devices()
    if cores > 1 and len(devices) == 1 and devices[0].platform == "cpu":
        warnings.warn(
            f"sweep runs on one CPU device; with jax.config.update('jax_num_cpu_devices', {cores}) "
            f"before the first use of JAX it would use all {cores} cores, up to {cores} times as "
            f"fast",
            stacklevel=4,
        )


def cut(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Lengths of a box of at most `most` runs: the longest side is halved until it fits."""
    box = list(shape)
    while math.prod(box) > most:
        longest = max(range(len(box)), key=box.__getitem__)
        box[longest] = -(-box[longest] // 2)
    return tuple(box)
