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
from collections.abc import Sequence
from functools import lru_cache, partial

import jax
import numpy as np

from gdjax import keys, machine, slabs
from gdjax.descent.batches import Order
from gdjax.errors import InputError
from gdjax.problems.keywords import declared, given_to
from gdjax.problems.validation import check, checking, found_mean
from gdjax.sweeps import arrays, sizing
from gdjax.sweeps.keywords import check_effect, check_update, traced
from gdjax.sweeps.specification import Specification
from gdjax.sweeps.tiles import Work

SLAB_BYTES = 2**24  # memory for the states of one CPU device's runs: about its cache
FILES = 900  # of runs, that a store has at most: more are kept in larger tiles
TILE_BYTES = 2**28  # of a tile of several slabs: it is in memory until it is written
WIDEST = 4096  # runs a device at most
CROWDED = 32  # runs a device that are tried first; more if they leave a cache half empty


def draft(specification: Specification, devices: Sequence[jax.Device]) -> Work:
    """A sweep that has been found to work, its slab still of one run a device.

    Args:
        specification: what is swept.
        devices: what it is computed on.

    Raises:
        InputError: a problem, metrics or an optimizer that cannot be descended, watched or used;
            an axis that cannot be swept or has no effect; a run that no device has memory for.
    """
    problem, grid, assigned = specification.problem, specification.axes, specification.roles
    slab = slabs.Slab(1, tuple(devices))
    work = Work(specification, slab, box=(1,) * len(grid.shape))
    form = specification.form
    check_effect(form.begun.idle, "init")
    params, state = form.begun.shapes
    limit = min(map(slabs.memory_limit, slab.devices))
    sizing.check_params(params, limit)
    if specification.batch_size is not None:
        order = (keys.streams(specification.root_seed).order,)
        Order(order, problem.samples, specification.batch_size)
    settings = form.settings
    # Whether the cost is a mean over samples shows in its values only. Any parameters do, and made
    # up ones need no program of their own; where the cost is no number there, real ones are taken.
    if problem.data is None or problem.stateful:
        rest = checking(problem, params, settings["cost"], state=state)
    else:
        rest = checking(problem, _made_up(params), settings["cost"])
    filled = {"key": keys.streams(0).noise, "step": np.int32(0), "state": state}
    filled = {name: filled[name] for name in given_to(problem.cost)}

    def cost(params, data, filled, **swept):
        sample = () if problem.data is None else (data,)
        return problem.cost(params, *sample, **filled, **swept)

    idle = traced(cost, "cost", assigned, grid, params, problem.data, filled).idle
    others = [m.function for m in specification.watched.values()]
    others += [] if problem.evaluation is None else [problem.evaluation]
    taken = {keyword for function in others for keyword in declared(function)}
    check_effect(tuple(axis for axis in idle if assigned[axis].keyword not in taken), "the cost")
    check_update(specification.make_optimizer, assigned, grid, params)
    form.measured  # noqa: B018 (raises what is wrong with a metric)
    sizing.check_state(form.state_bytes, limit)
    rest()
    if problem.data is not None and not found_mean(problem, settings["cost"]):
        begin = jax.jit(partial(problem.begin, **settings["init"]))
        start, real = begin(keys.streams(specification.root_seed).init)
        check(problem, start, settings["cost"], state=real)
    return work


def _made_up(params):
    """Parameters of these shapes that no symmetry makes equal, small enough for most costs."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: np.asarray(random.normal(0, 0.3, a.shape)).astype(a.dtype), params
    )


def fit(
    work: Work,
    width: int | None,
    *,
    tile_shape: tuple[int, ...] | None = None,
    single: tuple[bool, ...] | None = None,
) -> Work:
    """Choose the slab: as wide as asked, or as fills a cache, narrower if memory is short.

    Args:
        work: a draft.
        width: runs a device computes at a time, or None.
        tile_shape: runs of a tile along each dimension, where it is known; needs a width.
        single: along which dimensions a tile has one run, since a static axis varies there.

    Raises:
        InputError: a width that was asked for does not fit in memory, or not even one run does.
    """
    devices = work.slab.devices
    state_bytes = work.sweep.form.state_bytes
    shape = work.sweep.axes.shape
    if single is not None:
        shape = tuple(1 if one else size for size, one in zip(shape, single, strict=True))
    limit = min(slabs.memory_limit(device) for device in devices)
    if devices[0].platform == "cpu":
        limit //= len(devices)  # they share the host's
        budget = SLAB_BYTES
    else:
        budget = limit // 64
    fitting = 2 ** int(np.log2(max(budget // state_bytes, 1)))
    most = width or min(fitting, WIDEST)
    wanted = min(most, CROWDED) if width is None else width
    widened = width is not None
    if width is not None:
        sizing.check_width(width, state_bytes, limit)
    while True:
        box = tile_shape or cut(shape, wanted * len(devices))
        wide = width or -(-math.prod(box) // len(devices))
        work = dataclasses.replace(work, slab=slabs.Slab(wide, devices), box=box)
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
        if tile_shape is not None:
            return work
        room = 2 ** int(np.log2(max(budget / max(scratch, 1), 1)))
        if widened or wanted == most or room == 1 or math.prod(box) == math.prod(shape):
            # In large tiles: a slab a tile may be more of them than a layout takes.
            layout = dataclasses.replace(work, box=cut(shape, 2**20)).layout()
            names = tuple(layout.variables)
            each = arrays.nbytes(layout, names) // work.sweep.axes.runs
            fewest = max(1, FILES // (len(names) + 2))
            box = gather(shape, box, fewest, TILE_BYTES // max(each, 1))
            work = dataclasses.replace(work, box=box)
            sizing.check_tiles(work.sweep.axes.shape, box)
            sizing.check_slab(work.layout(), work.slab.runs)
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


def gather(
    shape: tuple[int, ...], box: tuple[int, ...], most: int, largest: int
) -> tuple[int, ...]:
    """Lengths of a tile of as many slabs as it takes for at most `most` tiles.

    Args:
        shape: of the grid.
        box: of one slab.
        most: tiles.
        largest: runs that a tile of several slabs may have.

    Examples:
        >>> gather((1_000_000,), (3907,), 100, 10**6), gather((12, 8), (4, 4), 100, 10**6)
        ((15628,), (4, 4))
    """
    lengths = list(box)
    while True:
        tiles = [-(-size // length) for size, length in zip(shape, lengths, strict=True)]
        if math.prod(tiles) <= most or 2 * math.prod(lengths) > largest:
            return tuple(lengths)
        longest = max(range(len(tiles)), key=tiles.__getitem__)
        lengths[longest] = min(2 * lengths[longest], shape[longest])


def cut(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Lengths of a box of at most `most` runs: the longest side is halved until it fits."""
    box = list(shape)
    while math.prod(box) > most:
        longest = max(range(len(box)), key=box.__getitem__)
        box[longest] = -(-box[longest] // 2)
    return tuple(box)
