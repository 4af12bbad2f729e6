"""Preflight of a sweep: validation, and choice of tiles.

    check(spec, devices)            in the caller: cost, axes, optimizer, metrics, memory of a run
    fit(checked, devices) -> Plan   in the process that has the devices: programs, tiles, arrays

Tiles are boxes of consecutive runs. Their size affects the number of files, but no result.

>>> next(tile_shapes((12, 8), 16)), next(tile_shapes((4096,), 128)), next(tile_shapes((3, 5), 16))
((2, 8), (128,), (3, 5))
"""

import dataclasses
import itertools
import math
import shutil
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import keys, machine, slabs
from gdjax.arguments import check_flag, check_whole
from gdjax.descent.batches import Order
from gdjax.descent.functions import check_deterministic
from gdjax.descent.validation import check_eval_params_fn
from gdjax.errors import InputError
from gdjax.problems.keywords import declared, given_to
from gdjax.problems.validation import check_can_run, check_problem, check_shapes, found_mean
from gdjax.stores.location import Bucket, Folder, locate
from gdjax.stores.reader import read_attributes
from gdjax.stores.schema import MAX_TILES, Layout, Variable
from gdjax.stores.writer import check_continuable
from gdjax.sweeps import identity
from gdjax.sweeps.binding import check_effect, check_factory, trace_axes
from gdjax.sweeps.dataset import PREFIXES, nbytes, stored_name
from gdjax.sweeps.slab_program import Positions, SlabProgram, Start, Tile
from gdjax.sweeps.spec import ProgramSpec, RunShapes, Sweep
from gdjax.sweeps.stored import identity_of

MAX_GATHERED_FILES = 900  # number of files in a store above which a tile has several slabs
MAX_GATHERED_TILE_BYTES = 2**28  # maximum size of a tile of several slabs, which is held in memory
MAX_SHARED_TILES = 64  # maximum number of tiles whose runs share slabs
MAX_STORE_FILES = 5_000_000
MAX_PARAM_BYTES = 2**30  # maximum size of parameters kept in memory without a store
FEWER = "choose a larger record_every or snapshot_every, or fewer runs"

# Shapes of the programs whose functions passed all checks. Without this cache, half of the fixed
# time of a sweep was spent on tracing the same functions at each call.
_CHECKED: weakref.WeakSet[RunShapes] = weakref.WeakSet()


@dataclass(frozen=True, eq=False)
class Target:
    """Store and devices of a sweep. Arguments are those of `sweep`.

    Raises:
        InputError: if an argument has an invalid type or value.
    """

    store: str | Path | None = None
    storage_options: Mapping[str, Any] | None = None
    devices: Sequence[jax.Device] | None = None
    max_param_bytes: int = MAX_PARAM_BYTES
    client: Any = None
    allow_unverified: bool = False

    def __post_init__(self):
        check_flag("allow_unverified", self.allow_unverified)
        if self.store is not None:
            locate(self.store, self.storage_options)  # raises an error unless it is a path or a URL
        elif self.storage_options is not None:
            raise InputError("storage_options: requires a store; pass store=..., a URL")
        remedy = ", in bytes, such as 2**30"
        check_whole("max_param_bytes", self.max_param_bytes, 0, math.inf, remedy=remedy)
        if self.client is not None and (self.store is None or self.devices is not None):
            raise InputError(
                "client: requires a store that all workers can access (store=...) and uses the "
                "devices of the workers; leave devices out"
            )
        if self.client is not None and not hasattr(self.client, "submit"):
            raise InputError(f"client = {self.client!r:.80}, expected a dask.distributed.Client")
        if self.devices is not None:
            check_devices(self.devices)

    @property
    def location(self) -> Folder | Bucket:
        """Location of the store."""
        return locate(self.store, self.storage_options)


def check_devices(devices: Any) -> None:
    """Check that an argument is a list of devices.

    Raises:
        InputError: if the argument is not a list of devices, or is empty.
    """
    if isinstance(devices, str) or not isinstance(devices, Sequence):
        raise InputError(
            f"devices = {devices!r:.80}, expected a list of devices, such as jax.devices('cpu')[:1]"
        )
    if not devices:
        raise InputError("devices: no devices; leave it out to use all local devices")
    for device in devices:
        if not isinstance(device, jax.Device):
            raise InputError(
                f"devices: {device!r:.80} is not a device; expected elements of jax.local_devices()"
            )


class CheckedSweep(NamedTuple):
    """Validated sweep: what determines its plan, besides devices.

    Args:
        spec: specification of the sweep.
        stored: identity of the store whose tiles are reused; None for new ones.
        initial_carry: function for initial carries, as in `SlabProgram`.
        where: store, for error messages.
    """

    spec: Sweep
    stored: Mapping[str, Any] | None = None
    initial_carry: Start | None = None
    where: Any = None


@dataclass(frozen=True, eq=False)
class Plan:
    """Sweep divided into tiles, with all data needed to compute a tile.

    Args:
        spec: specification of the sweep.
        programs: slab program for each of `spec.programs()`.
        layout: arrays that all programs compute and that are kept.
        devices: devices that compute slabs at the same time.
    """

    spec: Sweep
    programs: tuple[SlabProgram, ...]
    layout: Layout
    devices: tuple[jax.Device, ...]

    def program_of(self, tile: Tile) -> int:
        """Return the index of the program of a tile."""
        first = tuple(along.start for along in self.layout.schema.region(tile))
        return self.spec.axes.box_position(first)[0]

    def positions(self, tile: Tile) -> Positions:
        """Return the positions in the grid of the runs of a tile, in C order."""
        region = self.layout.schema.region(tile)
        along = np.meshgrid(*(np.arange(s.start, s.stop) for s in region), indexing="ij")
        return tuple(at.ravel() for at in along)

    def groups(self, tiles: Iterable[Tile]) -> list[list[Tile]]:
        """Return tiles in order of computation, in groups whose runs fill whole slabs.

        Groups are as small as possible; only the last slab of a program is padded, unless a group
        reaches `MAX_SHARED_TILES`.
        """
        groups: list[list[Tile]] = []
        last, runs = None, 0
        for number, tile in sorted((self.program_of(tile), tile) for tile in tiles):
            width = self.programs[number].width
            if number != last or runs % width == 0 or len(groups[-1]) == MAX_SHARED_TILES:
                groups.append([])
                last, runs = number, 0
            groups[-1].append(tile)
            runs += math.prod(s.stop - s.start for s in self.layout.schema.region(tile))
        return groups

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Identity of the sweep, by which its stored numbers are continued."""
        return identity.identity(self.spec)


def make_plan(
    spec: Sweep,
    programs: Sequence[SlabProgram],
    tile_shape: tuple[int, ...],
    stored: Mapping[str, Any] | None = None,
) -> Plan:
    """Return the plan of a sweep from its slab programs.

    Args:
        spec: specification of the sweep.
        programs: slab program for each of `spec.programs()`.
        tile_shape: number of runs of a tile along each dimension of the grid.
        stored: identity of the store whose arrays are kept; None for a new store.
    """
    layout = _common_layout(spec, programs, tile_shape)
    kept = ((stored or {}).get("layout") or {}).get("variables", ())
    is_final = programs[0].spec.eval_params_fn is None
    names = [
        name
        for name in layout.variables
        if name in kept or stored_name(name, params_are_final=is_final) == name
    ]
    return Plan(spec, tuple(programs), _restrict(layout, names), programs[0].devices)


def preflight(
    spec: Sweep,
    target: Target,
    *,
    stored: Mapping[str, Any] | None = None,
    initial_carry: Start | None = None,
) -> Plan | CheckedSweep:
    """Check a sweep and fit it to its devices.

    With a Dask client, the sweep is only checked, since its devices are those of the workers.

    Args:
        spec: specification of the sweep.
        target: store and devices.
        stored: identity of a store whose tiles are reused; None for that of the target,
            if it exists.
        initial_carry: function for initial carries, as in `SlabProgram`; None for that of the spec.

    Raises:
        InputError: as in `check` and `fit`, or if memory or disk is insufficient for the arrays.
        StoreError: if the store is damaged beyond repair or has format 3.
    """
    if jax.process_count() > 1:
        raise InputError(
            f"sweep: this is one of {jax.process_count()} processes of jax.distributed, all of "
            f"which would compute the same runs; start one process, and use the others as Dask "
            f"workers: client=dask.distributed.Client(...)"
        )
    check_can_run("sweep", spec.problem.data)
    devices = tuple(jax.local_devices() if target.devices is None else target.devices)
    if target.client is None:
        mention_cores()
    check(spec, devices)
    if stored is None and target.store is not None:
        stored = _stored_identity(target)
    if spec.continuable is None:
        traced = [program.functions for program in spec.programs()]
        spec = dataclasses.replace(spec, continuable=_keeps_carry(spec, target, stored))
        for program, functions in zip(spec.programs(), traced, strict=True):
            vars(program)["functions"] = functions  # which do not depend on it
    checked = CheckedSweep(spec, stored, initial_carry or spec.initial_carry(), target.store)
    if target.client is not None:
        return checked
    plan = fit(checked, devices)
    if target.store is None:
        return dataclasses.replace(plan, layout=_layout_in_memory(plan, target.max_param_bytes))
    if stored is None and isinstance(target.location, Folder):
        check_disk(target.location.path, plan.layout)
    return plan


def _keeps_carry(spec, target, stored):
    """Return whether a sweep with `continuable=None` keeps the state of its runs."""
    if target.store is None:  # only a store can be extended
        return False
    if stored is not None:
        return stored.get("continuable") is True
    return all(program.is_carry_small for program in spec.programs())


def _stored_identity(target):
    attributes = read_attributes(target.store, storage_options=target.storage_options)
    if attributes is None:
        return None
    check_continuable(target.location, attributes["gdjax_format"])
    return identity_of(attributes, target.store)


def check(spec: Sweep, devices: Sequence[jax.Device]) -> None:
    """Check a sweep independently of its slabs.

    Raises:
        InputError: if the problem, a metric or the optimizer is invalid, an axis cannot be swept or
            has no effect, or a run does not fit in the memory of a device.
    """
    limit = min(map(slabs.memory_limit, devices))
    for program in spec.programs():
        _check_program(program, limit)


def _check_program(program: ProgramSpec, limit: int) -> None:
    shapes = program.shapes
    check_effect(shapes.start.idle, "init")
    check_params(shapes.params, limit)
    if shapes not in _CHECKED:
        _check_functions(program)
        _CHECKED.add(shapes)
    if shapes.nbytes > limit:
        raise InputError(
            f"optimizer: a run with the optimizer state needs {size(shapes.nbytes)}, but a device "
            f"has {size(limit)}; choose an optimizer with a smaller state"
        )


def _check_functions(program: ProgramSpec) -> None:
    problem, grid, roles, shapes = program.problem, program.axes, program.roles, program.shapes
    params, model_state, root_seed = shapes.params, shapes.model_state, program.sweep.root_seed
    if program.batch_size is not None:
        Order((keys.run_keys(root_seed).order,), problem.samples, program.batch_size)
    settings = program.settings
    # Whether the cost is a mean over samples is checked at random parameters, which need no
    # additional program. If the cost is not finite there, the initial parameters are used below.
    if problem.data is None or problem.stateful:
        check_mean = check_shapes(problem, params, settings["cost"], model_state=model_state)
    else:
        check_mean = check_shapes(problem, _random_params(params), settings["cost"])
    supplied = {"key": keys.run_keys(0).noise, "step": np.int32(0), "model_state": model_state}
    supplied = {name: supplied[name] for name in given_to(problem.cost)}

    def cost(params, data, supplied, **swept):
        sample = () if problem.data is None else (data,)
        return problem.cost(params, *sample, **supplied, **swept)

    idle = trace_axes(cost, "cost", roles, grid, params, problem.data, supplied).idle
    check_deterministic(program.functions)
    others = [metric.function for metric in program.metrics.values()]
    others += [] if problem.evaluation is None else [problem.evaluation]
    used = {keyword for function in others for keyword in declared(function)}
    check_effect(tuple(axis for axis in idle if roles[axis].keyword not in used), "the cost")
    check_factory(program.make_optimizer, roles, grid, params)
    check_eval_params_fn(program.eval_params_fn, shapes.carry.state.opt_state, params)
    shapes.array_metrics  # noqa: B018 (raises if a metric is invalid)
    check_mean()
    if problem.data is not None and not found_mean(problem, settings["cost"]):
        begin = jax.jit(partial(problem.begin, **settings["init"]))
        start, model_state = begin(keys.run_keys(root_seed).init)
        check_problem(problem, start, settings["cost"], model_state=model_state)


def _random_params(params):
    """Return random parameters, generic with respect to symmetries, of moderate size."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: np.asarray(random.normal(0, 0.3, a.shape)).astype(a.dtype), params
    )


def check_params(params: PyTree, limit: int) -> None:
    """Check that no array is empty, and that parameters and gradient fit in memory.

    Raises:
        InputError: if an array is empty, or the memory is insufficient.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if 0 in leaf.shape:
            raise InputError(
                f"init: params{jax.tree_util.keystr(path)} has shape {leaf.shape}, an empty array, "
                f"which a store cannot contain; leave it out of params"
            )
    leaves = jax.tree.leaves(params)
    need = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if need > limit:
        raise InputError(
            f"params: {sum(leaf.size for leaf in leaves):,} numbers and their gradient need "
            f"{size(need)}, but a device has {size(limit)}; choose a smaller problem, such as a "
            f"network of smaller widths"
        )


def fit(
    checked: CheckedSweep,
    devices: Sequence[jax.Device],
    tile_shape: tuple[int, ...] | None = None,
) -> Plan:
    """Compile the programs of a sweep, and choose its tiles.

    Args:
        checked: checked sweep; the tiles of its store are reused.
        devices: devices that compute the sweep.
        tile_shape: number of runs of a tile along each dimension; None to choose it.

    Raises:
        InputError: if a slab does not fit in memory; or if a static axis has no effect or changes
            the shapes of arrays.
    """
    programs = []  # a loop instead of a comprehension avoids a stack frame between sweep and cost
    for spec in checked.spec.programs():
        programs.append(fit_program(spec, devices, checked.initial_carry))
    plan = make_plan(
        checked.spec, programs, tile_shape or _tile_shape(checked, programs), checked.stored
    )
    _check_static_axes(programs)
    slab_bytes = max(program.compiled_block.bytes.total for program in programs)
    usable = slabs.concurrent_devices([p.compiled_block for p in programs], devices)
    if devices[0].platform == "cpu":  # CPU devices share the memory of the host
        usable = usable[: max(1, slabs.memory_limit(devices[0]) // max(slab_bytes, 1))]
    return dataclasses.replace(plan, devices=usable)


def fit_program(
    spec: ProgramSpec, devices: Sequence[jax.Device], initial_carry: Start | None = None
) -> SlabProgram:
    """Return the slab program of a specification, compiled for the first device.

    Args:
        spec: specification of the program.
        devices: devices that compute the program.
        initial_carry: function for initial carries, as in `SlabProgram`.

    Raises:
        InputError: if a slab does not fit in memory.
    """
    program = SlabProgram(spec, tuple(devices), initial_carry)
    program.start_program.ahead(*program.start_example(devices[0]))
    program.block_program.ahead(*program.block_example(devices[0]))
    limit = min(slabs.memory_limit(device) for device in devices)
    need = program.compiled_block.bytes.total
    if need > limit:
        raise InputError(
            f"sweep: the {program.width} runs that are computed together need {size(need)}, but a "
            f"device has {size(limit)}; use fewer samples, a smaller batch_size or fewer snapshots"
        )
    return program


def _tile_shape(checked, programs):
    """Return the number of runs of a tile along each dimension of the grid.

    Raises:
        InputError: if there are too many tiles, or the arrays of a slab do not fit in host memory.
    """
    grid, stored = checked.spec.axes, checked.stored
    if stored is not None:
        lengths = stored["layout"]["tile"]
        if lengths.keys() == grid.sizes.keys() and all(
            n <= grid.sizes[d] for d, n in lengths.items()
        ):
            return tuple(lengths[dim] for dim in grid.sizes)
    # A tile belongs to one program.
    along = zip(grid.shape, grid.static_groups, strict=True)
    shape = tuple(1 if len(groups) > 1 else length for length, groups in along)
    arrays, width = programs[0].sweep_arrays, max(program.width for program in programs)
    run_bytes = nbytes(arrays, arrays.variables) // grid.runs
    memory = machine.memory()
    if run_bytes * min(width, grid.runs) > memory:
        raise InputError(
            f"sweep: the arrays of {min(width, grid.runs):,} runs that are computed together need "
            f"{size(run_bytes * width)}, but the memory has {size(memory)}; {FEWER}"
        )
    most_tiles = max(1, MAX_GATHERED_FILES // (len(arrays.variables) + 2))
    most_runs = MAX_GATHERED_TILE_BYTES // max(run_bytes, 1)
    tile = shape
    for tile, larger in itertools.pairwise((*tile_shapes(shape, width), None)):
        tiles = _num_tiles(grid.shape, tile)
        if tiles <= most_tiles or larger is None or math.prod(larger) > most_runs:
            break
    if tiles > MAX_TILES:
        raise InputError(
            f"sweep: {grid.runs:,} runs need {tiles:,} tiles, expected at most {MAX_TILES:,}; "
            f"sweep fewer runs"
        )
    return tile


def _num_tiles(shape, tile):
    return math.prod(-(-n // length) for n, length in zip(shape, tile, strict=True))


def tile_shapes(shape: tuple[int, ...], width: int) -> Iterator[tuple[int, ...]]:
    """Return shapes of tiles of at least `width` runs, increasing up to the whole grid.

    A tile contains consecutive runs of the grid in C order. Their number is a multiple of the
    width, except that a tile may have the full length of a dimension.
    """
    inner = 1
    for dim in reversed(range(len(shape))):
        before, after = (1,) * dim, shape[dim + 1 :]
        length = width // math.gcd(width, inner)
        if length == 1 < inner:
            length = 2  # the shape of length 1 has been returned
        while length < shape[dim]:
            yield (*before, length, *after)
            length *= 2
        inner *= shape[dim]
        if inner >= width or dim == 0:
            yield (*before, *shape[dim:])


def _common_layout(spec, programs, tile_shape):
    """Return the layout of the arrays of a sweep that all programs compute.

    Raises:
        InputError: if the shapes or types of an array differ between programs.
    """
    first, *others = [
        # The programs of one part of a store have other axes than the whole.
        program.sweep_arrays if program.spec.sweep is spec else program.arrays(spec.axes)
        for program in programs
    ]

    def described(arrays, name):
        variable = arrays.variables[name]
        lengths = [arrays.sizes[dim] for dim in variable.dims]
        return variable.dims, np.dtype(variable.dtype), lengths

    names = [n for n in first.variables if all(n in other.variables for other in others)]
    for name in names:
        if any(described(other, name) != described(first, name) for other in others):
            raise InputError(
                f"axes: {name} has different shapes or types for different values of "
                f"{' or '.join(spec.axes.static)}; sweep these values separately"
            )
    tile = dict(zip(spec.axes.sizes, tile_shape, strict=True))
    return _restrict(Layout(first.sizes, tile, first.variables, first.coordinates), names)


def _restrict(layout: Layout, names: Sequence[str]) -> Layout:
    """Return a layout of some variables, without unused dimensions and coordinates."""
    if len(names) == len(layout.variables):
        return layout
    variables: dict[str, Variable] = {name: layout.variables[name] for name in names}
    used = {dim for variable in variables.values() for dim in variable.dims}
    return dataclasses.replace(
        layout,
        variables=variables,
        sizes={dim: n for dim, n in layout.sizes.items() if dim in used},
        coordinates={n: c for n, c in layout.coordinates.items() if set(c.dims) <= used},
    )


def _check_static_axes(programs):
    """Check that static axes of the cost or the optimizer change the program.

    Raises:
        InputError: if an axis does not change the program, such as `nesterov` without momentum.
    """
    roles = programs[0].spec.roles
    static = [axis for axis, role in roles.items() if role.is_static]
    for axis in static:
        known: dict[tuple, list[tuple]] = {}
        for program in programs:
            first = program.spec.axes.first_values
            others = tuple(first[other] for other in static if other != axis)
            functions = tuple(traced.function for traced in program.spec.functions.values())
            known.setdefault(others, []).append(functions)
        idle = all(len(group) > 1 and len(set(group)) == 1 for group in known.values())
        if idle and roles[axis].role in ("cost", "optimizer"):
            check_effect((axis,), f"the {roles[axis].role}")


def _layout_in_memory(plan, max_param_bytes):
    """Return the layout kept in memory, without parameters if these are too large.

    Raises:
        InputError: if the arrays do not fit in host memory.
    """
    layout = plan.layout
    heavy = [name for name in layout.variables if name.split(".")[0] in PREFIXES]
    param_bytes = nbytes(layout, heavy)
    if param_bytes > max_param_bytes:
        layout = _restrict(layout, [name for name in layout.variables if name not in heavy])
    need, limit = nbytes(layout, layout.variables), machine.memory()
    if need > limit:
        raise InputError(
            f"sweep: the arrays of {_runs(layout):,} runs need {size(need)} of memory, but "
            f"{size(limit)} are available; pass a store, {FEWER}"
        )
    if param_bytes > max_param_bytes:
        warnings.warn(
            f"sweep: {param_bytes / 2**20:,.0f} MiB of parameters are more than max_param_bytes = "
            f"{max_param_bytes / 2**20:,.0f} MiB and are omitted; pass a store, or a larger "
            f"max_param_bytes",
            stacklevel=4,
        )
    return layout


@lru_cache
def mention_cores() -> None:
    """Warn once if only one of several CPU cores is used."""
    cores = machine.cores()
    devices = jax.local_devices()
    if cores > 1 and len(devices) == 1 and devices[0].platform == "cpu":
        warnings.warn(
            f"sweep runs on one CPU device; with jax.config.update('jax_num_cpu_devices', {cores}) "
            f"before the first use of JAX it would use all {cores} cores, up to {cores} times as "
            f"fast",
            stacklevel=4,
        )


def check_disk(path: Path, layout: Layout, missing: float = 1.0) -> None:
    """Check that a store fits on its disk.

    Args:
        path: folder of the store, which need not exist.
        layout: arrays of the store.
        missing: fraction of the sweep that is not yet written.

    Raises:
        InputError: if the store does not fit, or would have too many files.
    """
    files = math.prod(layout.schema.tiles) * (len(layout.variables) + 2)
    if files > MAX_STORE_FILES:
        raise InputError(
            f"store: {_runs(layout):,} runs need {files:,} files, expected at most "
            f"{MAX_STORE_FILES:,}; sweep fewer runs"
        )
    need = nbytes(layout, layout.variables) * missing
    folders = (path.absolute(), *path.absolute().parents)
    existing = next(folder for folder in folders if folder.exists())
    free = shutil.disk_usage(existing).free
    if need > free:
        raise InputError(
            f"store: {_runs(layout):,} runs need {size(need)} on disk, but {existing} has "
            f"{size(free)} free; free some space, {FEWER}"
        )


def size(count: int | float) -> str:
    """Return a number of bytes as text with a binary unit.

    Examples:
        >>> size(3 * 2**30), size(20)
        ('3.0 GiB', '20 bytes')
    """
    for unit, power in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 2**power:
            return f"{count / 2**power:,.1f} {unit}"
    return f"{count:.0f} bytes"


def _runs(layout: Layout) -> int:
    return math.prod(layout.sizes[dim] for dim in layout.tile)
