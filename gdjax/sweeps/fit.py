"""Fit of a sweep to its devices: width of slabs, tiles, arrays, and compilation.

    fit(Checked) -> Fitted     the same programs with a width, tiles, and the schema of arrays

The width of the slabs of a program depends on shapes and on the platform, the tiles and the schema
of arrays also on the store, if it exists; each program is compiled once.

>>> next(tile_shapes((12, 8), 16)), next(tile_shapes((4096,), 128)), next(tile_shapes((3, 5), 16))
((2, 8), (128,), (3, 5))
"""

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gdjax.base import machine, progress, slabs
from gdjax.base.arrays import Schema
from gdjax.base.errors import InputError, warn
from gdjax.base.machine import check_bytes
from gdjax.problems.microbatches import cost_microbatch
from gdjax.problems.optimizers import cost_type
from gdjax.problems.prints import has_prints
from gdjax.stores.location import Folder
from gdjax.stores.schema import MAX_TILES
from gdjax.sweeps import identity
from gdjax.sweeps.arrays import sweep_arrays
from gdjax.sweeps.binding import without_effect
from gdjax.sweeps.bits import have_equal_bits
from gdjax.sweeps.check import Asked, Checked
from gdjax.sweeps.checkpoint import Positions
from gdjax.sweeps.dataset import PREFIXES, stored_name
from gdjax.sweeps.program import Program, Tile, tree_nbytes

MAX_GATHERED_FILES = 900  # number of files in a store above which a tile has several slabs
MAX_GATHERED_TILE_BYTES = 2**28  # maximum size of a tile of several slabs, which is held in memory
MAX_SHARED_TILES = 64  # maximum number of tiles whose runs share slabs
REMEDY = "choose a larger record_every or snapshot_every, or fewer runs"

# Widths of slabs, each with the maximum number of bytes of a run (`step_nbytes`).
# They are multiples of 16, the number of float32 numbers of a vector register of AVX-512, since
# with 4 runs the position of a run in the slab changed its bits. Microseconds per run-step on two
# cores, at widths 16 and 64: digits at batch size 32 in a shared order (130 KB per run) 13.4 and
# 10.3, in separate orders (230 KB) 17.5 and 23.8, on the whole set 664 and 653; on another machine,
# in a shared order, widths 16, 32 and 64 took 50.3, 42.1 and 41.4 with momentum, 51.6, 47.8 and
# 46.6 with Adam. Milliseconds for 8,000 runs with two parameters and 1,000 steps, at widths 128 to
# 2,048: 150, 93, 68, 52 and 71; for 8 runs and 10,000 steps: 18, 20, 29, 42 and 135. Microseconds
# per run-step at width 32, relative to width 16: recurrent network .77, neural ODE .76, both with
# loops; linen .94, physics .96, variational .99, transformer .99, convolutional .90, online .90.
# Widths of accelerators have not been measured.
CPU_WIDTHS = ((512, 2**10), (32, 2**18), (16, 2**22))
GAINING_WIDTH = 32  # width of a CPU that only programs have which gain from it
ACCELERATOR_WIDTHS = ((4096, 2**10), (512, 5 * 2**15), (64, 2**26))
REMEDIED = ("cpu",)  # platforms whose compiler is LLVM
UNVECTORIZED_WIDTH = 4  # number of runs that LLVM computes one by one where it may choose


def slab_width(program: Program) -> int:
    """Return the number of runs that a device computes together; 1 if no width fits.

    It is also 1 if a function of the user prints, so that no copies of runs, which fill a slab, do.
    """
    traces = program.facts.traces.values()
    if any(traced.program is not None and has_prints(traced.program) for traced in traces):
        return 1
    widths = CPU_WIDTHS if program.devices[0].platform == "cpu" else ACCELERATOR_WIDTHS
    run_nbytes, own_order = step_nbytes(program), program.inputs.has_own_order
    width, *narrower = [width for width, limit in widths if run_nbytes <= limit] or [1]
    if width == GAINING_WIDTH:
        samples = program.batch_size or program.facts.problem.samples
        gains = program.facts.gains_from_width(samples, own_order=own_order)
        width = width if gains else narrower[0]
    return width


def step_nbytes(program: Program) -> int:
    """Return the size of what a step of one run reads and writes besides shared data, in bytes.

    These are its state and the intermediate results of the cost for a mini-batch or a microbatch,
    among them its own random numbers. A run with an order of its own also reads its samples.
    """
    samples, numbers = program.batch_size or program.facts.problem.samples or 1, 0
    if program.batch_size is None:
        largest = cost_microbatch(program.facts.problem, program.largest_microbatch)
        samples = min(samples, largest or samples)
    if program.inputs.has_own_order:
        data = jax.tree.leaves(program.facts.problem.data)
        numbers = samples * sum(math.prod(leaf.shape[1:]) for leaf in data)
    itemsize = np.dtype(cost_type(program.facts.params)).itemsize
    return _state_nbytes(program) + _cost_nbytes(program, samples) + numbers * itemsize


def _state_nbytes(program):
    """Return the size of parameters, gradient, optimizer state and model state, in bytes."""
    state = (
        program.facts.params,
        program.facts.params,
        program.facts.opt_state,
        program.facts.model_state,
    )
    counters = np.dtype(cost_type(program.facts.params)).itemsize + 3 * 4  # see `Carry`
    return tree_nbytes(state) + counters


def _cost_nbytes(program, samples):
    """Return the size of the results of the cost that depend on the run, in bytes."""
    size = program.batch_size or program.facts.problem.samples or 1
    own_noise = program.inputs.has_own_noise
    return round(samples * program.facts.cost_nbytes(size, own_noise=own_noise) / size)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A sweep that has been fitted to its devices, with compiled programs.

    Args:
        checked: the sweep, without errors.
        programs: its programs, with their widths.
        devices: devices that compute slabs at the same time.
        schema: arrays that all programs compute and that are kept.
    """

    checked: Checked
    programs: tuple[Program, ...]
    devices: tuple[jax.Device, ...]
    schema: Schema

    @property
    def asked(self) -> Asked:
        """What is to be computed, and where it is stored."""
        return self.checked.asked

    @property
    def writer(self) -> dict[str, Any]:
        """Description of the hardware and software that compute the runs."""
        results = {program.bits_checked for program in self.programs}
        checked = False if False in results else None if None in results else True
        return {**identity.writer(self.devices[0]), "bits_checked": checked}

    def program_of(self, tile: Tile) -> int:
        """Return the index of the program of a tile."""
        first = tuple(along.start for along in self.schema.region(tile))
        return self.asked.sweep.axes.box_number(first)

    def positions(self, tile: Tile) -> Positions:
        """Return the positions in the grid of the runs of a tile, in C order."""
        region = self.schema.region(tile)
        along = np.meshgrid(*(np.arange(s.start, s.stop) for s in region), indexing="ij")
        return tuple(at.ravel() for at in along)

    def groups(self, tiles: Iterable[Tile]) -> list[list[Tile]]:
        """Return tiles in order of computation, in groups whose runs share slabs.

        Groups are as small as possible such that only the last slab of a program is padded, unless
        a group reaches `MAX_SHARED_TILES`.
        """
        groups: list[list[Tile]] = []
        last, runs = None, 0
        for number, tile in sorted((self.program_of(tile), tile) for tile in tiles):
            is_full = runs % self.programs[number].width == 0
            if number != last or is_full or len(groups[-1]) == MAX_SHARED_TILES:
                groups.append([])
                last, runs = number, 0
            groups[-1].append(tile)
            runs += math.prod(s.stop - s.start for s in self.schema.region(tile))
        return groups


def fit(checked: Checked) -> Fitted:
    """Compile the programs of a sweep, and choose its tiles and arrays."""
    asked, devices = checked.asked, checked.devices
    fitted = []
    runs, steps = asked.sweep.axes.runs, asked.sweep.num_steps
    desc = f"compiling for {runs:,} runs of {steps:,} steps: "
    with progress.bar(desc=desc, total=len(checked.programs), unit="program", delay=0) as bar:
        for program in checked.programs:
            fitted.append(fit_program(program))
            bar.update()
    programs = tuple(fitted)
    schema = _schema(checked, programs)
    _check_static_axes(programs)
    compiled = [program.compiled_block for program in programs]
    usable = slabs.concurrent_devices(compiled, devices)
    if devices[0].platform == "cpu":  # CPU devices share the memory of the host
        slab_bytes = max(block.nbytes for block in compiled)
        usable = usable[: max(1, slabs.memory_limit(devices[0]) // max(slab_bytes, 1))]
    if asked.store is None:
        schema = _schema_in_memory(schema, asked.max_param_bytes)
    elif checked.stored is None and isinstance(asked.location, Folder):
        check_disk(asked.location.path, schema)
    return Fitted(checked, programs, usable, schema)


def fit_program(program: Program) -> Program:
    """Return a program with its width, compiled for the first device.

    If the bits of its runs depend on their places in the slab, the first of the remedies that helps
    is taken: fewer optimizations, and fewer runs than LLVM computes at a time. Each of them depends
    on the program alone.
    """
    width = slab_width(program)
    first = _compiled(program, width)
    if (is_equal := have_equal_bits(first)) is not False:
        return replace(first, bits_checked=is_equal)
    if program.devices[0].platform not in REMEDIED:
        warn(
            f"sweep: the last bits of a run depend on its place among the {width} runs that are "
            f"computed together (bits_checked is false); the numbers are otherwise correct"
        )
        return replace(first, bits_checked=False)
    for narrower in (width, UNVECTORIZED_WIDTH, 1):
        other = _compiled(program, narrower, fast_compilation=True)
        if have_equal_bits(other):
            return replace(other, bits_checked=True)
    raise AssertionError  # a slab of one run has one place


def _compiled(program, width, *, fast_compilation=False):
    """Return a program that is compiled for a width, after a check of the memory that it needs."""
    program = replace(program, width=width, fast_compilation=fast_compilation)
    device = program.devices[0]
    program.initial_program.ahead(*program.initial_example(device))
    program.descent.block.ahead(*program.block_example(device))
    check_bytes(
        f"sweep: the runs that are computed together ({program.width})",
        program.compiled_block.nbytes,
        "a device",
        min(map(slabs.memory_limit, program.devices)),
        "use fewer samples, a smaller batch_size, fewer snapshots or an optimizer with a smaller "
        "state",
    )
    return program


def _schema(checked, programs):
    """Return the schema of the arrays that all programs compute: each once, or as in the store."""
    first, *others = map(sweep_arrays, programs)

    def described(schema, name):
        array = schema.arrays[name]
        return array.dims, np.dtype(array.dtype), schema.shape(array)

    grid, is_final = checked.asked.sweep.axes, programs[0].facts.eval_params_fn is None
    stored = ((checked.stored or {}).get("layout") or {}).get("variables", ())
    names = [
        name
        for name in first.arrays
        if all(name in other.arrays for other in others)
        and (name in stored or stored_name(name, params_are_final=is_final) == name)
    ]
    for name in names:
        if any(described(other, name) != described(first, name) for other in others):
            raise InputError(
                f"axes: {name} has different shapes or types for different values of "
                f"{' or '.join(grid.static)}; sweep these values separately"
            )
    tile = dict(zip(grid.sizes, _tile_shape(checked, programs, first), strict=True))
    return first.of(names, tile)


def _tile_shape(checked, programs, schema):
    """Return the number of runs of a tile along each dimension of the grid."""
    grid, stored = checked.asked.sweep.axes, checked.stored
    if stored is not None:
        lengths = stored["layout"]["tile"]
        if lengths.keys() == grid.sizes.keys() and all(
            n <= grid.sizes[d] for d, n in lengths.items()
        ):
            return tuple(lengths[dim] for dim in grid.sizes)
    # A tile belongs to one program.
    along = zip(grid.shape, grid.static_groups, strict=True)
    shape = tuple(1 if len(groups) > 1 else length for length, groups in along)
    width = max(program.width for program in programs)
    run_bytes = schema.nbytes() // grid.runs
    _check_arrays_fit(run_bytes, min(width, grid.runs), REMEDY)
    most_tiles = max(1, MAX_GATHERED_FILES // (len(schema.arrays) + 2))
    most_runs = MAX_GATHERED_TILE_BYTES // max(run_bytes, 1)
    shapes = list(tile_shapes(shape, width))
    for tile, larger in zip(shapes, [*shapes[1:], None], strict=True):
        tiles = math.prod(-(-n // length) for n, length in zip(grid.shape, tile, strict=True))
        if tiles <= most_tiles or larger is None or math.prod(larger) > most_runs:
            break
    if tiles > MAX_TILES:
        raise InputError(
            f"sweep: {grid.runs:,} runs need {tiles:,} tiles, expected at most {MAX_TILES:,}; "
            f"sweep fewer runs"
        )
    return tile


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


def _check_static_axes(programs):
    """Check that static axes of the cost or the optimizer change the program."""
    roles = programs[0].roles
    static = [axis for axis, role in roles.items() if role.is_static]
    for axis in static:
        known: dict[tuple, list[tuple]] = {}
        for program in programs:
            first = program.axes.first_values
            others = tuple(first[other] for other in static if other != axis)
            functions = tuple(traced.function for traced in program.facts.traces.values())
            known.setdefault(others, []).append(functions)
        idle = all(len(group) > 1 and len(set(group)) == 1 for group in known.values())
        if idle and roles[axis].kind in ("cost", "optimizer"):
            raise without_effect(axis, f"the {roles[axis].kind}")


def _schema_in_memory(schema, max_param_bytes):
    """Return the schema kept in memory, without parameters if these are too large."""
    heavy = [name for name in schema.arrays if name.split(".")[0] in PREFIXES]
    param_bytes = schema.nbytes(heavy)
    if param_bytes > max_param_bytes:
        schema = schema.of([name for name in schema.arrays if name not in heavy])
    check_memory(schema, f"pass a store, {REMEDY}")
    if param_bytes > max_param_bytes:
        warn(
            f"sweep: {param_bytes / 2**20:,.0f} MiB of parameters are more than max_param_bytes = "
            f"{max_param_bytes / 2**20:,.0f} MiB and are omitted; pass a store, or a larger "
            f"max_param_bytes"
        )
    return schema


def check_memory(schema: Schema, remedy: str = REMEDY) -> None:
    """Check that all arrays of a sweep fit in memory."""
    _check_arrays_fit(schema.nbytes() / schema.runs, schema.runs, remedy)


def _check_arrays_fit(run_bytes, runs, remedy):
    """Check that the arrays of runs that are in memory together fit in it."""
    subject = f"sweep: the arrays of {runs:,} runs"
    check_bytes(subject, run_bytes * runs, "the memory", machine.memory(), remedy)


def check_disk(path: Path, schema: Schema, missing: float = 1.0) -> None:
    """Check that the fraction of a store that is missing fits on its disk."""
    need = schema.nbytes() * missing
    folders = (path.absolute(), *path.absolute().parents)
    existing = next(folder for folder in folders if folder.exists())
    free, remedy = shutil.disk_usage(existing).free, f"free some space, {REMEDY}"
    check_bytes(f"store: {schema.runs:,} runs", need, f"the disk of {existing}", free, remedy)
