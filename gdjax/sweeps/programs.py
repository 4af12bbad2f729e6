"""A sweep as tiles of one regular grid, each computed by one of its compiled programs.

    tile of the grid -> program of its static values, tile of that program's own smaller grid

Along a dimension with several static values a tile has one run, so that no tile needs two programs.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from gdjax import slabs
from gdjax.errors import InputError, StoreError
from gdjax.stores.schema import Layout, Variable
from gdjax.sweeps import provenance
from gdjax.sweeps.arrays import aligned
from gdjax.sweeps.drafting import draft, fit
from gdjax.sweeps.keywords import check_effect
from gdjax.sweeps.specification import Specification
from gdjax.sweeps.tiles import Work


@dataclasses.dataclass(frozen=True, eq=False)
class Programs:
    """The programs of a sweep, one for each combination of static values.

    Args:
        sweep: all of it.
        works: one for each of `sweep.parts`.
    """

    sweep: Specification
    works: tuple[Work, ...]

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Runs of a tile along each dimension of the grid."""
        return self.works[0].box

    @cached_property
    def layout(self) -> Layout:
        """The arrays of the sweep: those that all programs compute.

        Raises:
            InputError: programs compute arrays of different shapes.
        """
        layouts = [work.layout(self.sweep.axes, self.sweep.since) for work in self.works]
        first = layouts[0]
        names = [name for name in first.variables if all(name in o.variables for o in layouts)]
        for other in layouts[1:]:
            for name in names:
                shapes = [
                    (v.dims, np.dtype(v.dtype), [layout.sizes[d] for d in v.dims])
                    for layout, v in ((o, o.variables[name]) for o in (first, other))
                ]
                if shapes[0] != shapes[1]:
                    raise InputError(
                        f"axes: {name} has another shape or type for another value of "
                        f"{' or '.join(self.sweep.axes.static)}; sweep these values apart: "
                        f"gd.compare"
                    )
        variables: dict[str, Variable] = {name: first.variables[name] for name in names}
        if len(names) == len(first.variables):
            return first
        return restrict(first, variables)

    def on(self, devices: tuple[jax.Device, ...]) -> "Programs":
        """Return the sweep on other devices, its slabs still open."""
        slab = slabs.Slab(1, devices)
        works = tuple(dataclasses.replace(work, slab=slab) for work in self.works)
        return Programs(self.sweep, works)

    def program_of(self, tile: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """Return the number of a tile's program, and the tile in that program's own grid."""
        if len(self.works) == 1:
            return 0, tile
        numbers, own = [], []
        grouped = self.sweep.axes.static_groups
        for position, groups in zip(tile, grouped, strict=True):
            # With one group a tile may have several runs along the dimension.
            number = next(i for i, g in enumerate(groups) if len(groups) == 1 or position in g)
            numbers.append(number)
            own.append(position if len(groups) == 1 else groups[number].tolist().index(position))
        return int(np.ravel_multi_index(numbers, [len(groups) for groups in grouped])), tuple(own)

    def in_order(self, tiles: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return tiles in the order in which they are computed: program by program."""
        return sorted(tiles, key=lambda tile: (self.program_of(tile)[0], tile))

    def release(self, number: int) -> None:
        """Let go of the data that a program has on the devices; they come back if it is used."""
        self.works[number].__dict__.pop("inputs", None)

    def compute(self, tile: tuple[int, ...], **hooks: Callable) -> dict[str, np.ndarray] | None:
        """Return all variables of a tile; as `Work.compute`."""
        number, own = self.program_of(tile)
        arrays = self.works[number].compute(own, **hooks)
        return None if arrays is None else self._aligned(arrays)

    def _aligned(self, arrays):
        """Return arrays with fill values before the step at which the program's records begin."""
        grid = len(self.tile_shape)
        return {
            name: aligned(arrays[name], [self.layout.sizes[d] for d in v.dims[grid:]], v.fill_value)
            for name, v in self.layout.variables.items()
        }

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be equal for two sweeps to be the same."""
        return provenance.identity(self.sweep, self.works)

    @cached_property
    def writers(self) -> list[dict[str, Any]]:
        """For each program, what explains the numbers that it computes here."""
        return [provenance.writer(work) for work in self.works]


def restrict(layout: Layout, variables: dict[str, Variable]) -> Layout:
    """Return a layout of fewer variables, without what only the others need."""
    used = {dim for variable in variables.values() for dim in variable.dims}
    return dataclasses.replace(
        layout,
        variables=variables,
        sizes={dim: n for dim, n in layout.sizes.items() if dim in used},
        coordinates={n: c for n, c in layout.coordinates.items() if set(c.dims) <= used},
    )


def draft_programs(sweep: Specification, devices: Sequence[jax.Device]) -> Programs:
    """Check each program of a sweep; the slabs are still open.

    Raises:
        InputError: as for `draft`.
    """
    return Programs(sweep, tuple(draft(part, devices) for part in sweep.parts))


def fit_programs(
    drafts: Programs,
    widths: Sequence[int | None] | int | None,
    tile_shape: tuple[int, ...] | None = None,
) -> Programs:
    """Choose slabs and tiles.

    Args:
        drafts: the checked programs.
        widths: runs a device computes at a time: None chooses, a sequence has one a program.
        tile_shape: runs of a tile along each dimension, where it is known.

    Raises:
        InputError: as for `fit`.
    """
    works = drafts.works
    if not isinstance(widths, Sequence):
        widths = [widths] * len(works)
    single = tuple(len(groups) > 1 for groups in drafts.sweep.axes.static_groups)
    fitted = [
        fit(work, width, tile_shape=tile_shape, single=single if len(works) > 1 else None)
        for work, width in zip(works, widths, strict=True)
    ]
    if len({work.box for work in fitted}) > 1:  # all tiles are those that fit every program
        smallest = min((work.box for work in fitted), key=math.prod)
        fitted = [
            fit(
                work,
                min(work.slab.width, -(-math.prod(smallest) // len(work.slab.devices))),
                tile_shape=smallest,
            )
            for work in fitted
        ]
    programs = Programs(drafts.sweep, tuple(fitted))
    check_static(programs)
    return programs


def fit_stored(
    drafts: Programs, identity: Mapping[str, Any], width: int | None, store: Any
) -> Programs:
    """Choose the slabs and tiles that a store has.

    Args:
        drafts: the checked programs.
        identity: the store's.
        width: runs a device computes at a time, where another one is asked for.
        store: which store, for the error.

    Raises:
        StoreError: there are fewer devices than it was computed on.
    """
    slab, here = identity["slab"], drafts.works[0].slab.devices
    if len(here) < slab["devices"]:
        raise StoreError(
            f"{store}: was computed on {slab['devices']} devices, and here are {len(here)}; on a "
            f"CPU set jax_num_cpu_devices before JAX is used"
        )
    drafts = drafts.on(here[: slab["devices"]])
    if width is not None or len(slab["width"]) != len(drafts.works):
        return fit_programs(drafts, width)  # the store refuses what is not its own
    lengths = identity["layout"]["tile"]
    sizes = drafts.sweep.axes.sizes
    if lengths.keys() != sizes.keys() or any(n > sizes[d] for d, n in lengths.items()):
        return fit_programs(drafts, slab["width"])
    return fit_programs(drafts, slab["width"], tuple(lengths[dim] for dim in sizes))


def check_static(programs: Programs) -> None:
    """Refuse static axes of the cost or the optimizer that change no program.

    Raises:
        InputError: there is one: `nesterov` without momentum, say.
    """
    works = programs.works
    roles = works[0].sweep.roles
    static = [axis for axis, role in roles.items() if role.static]
    for axis in static:
        hashes: dict[tuple, list[str]] = {}
        for work in works:
            first = work.sweep.axes.first
            others = tuple(first[other] for other in static if other != axis)
            hashes.setdefault(others, []).append(work.program_hash())
        idle = all(len(group) > 1 and len(set(group)) == 1 for group in hashes.values())
        if idle and roles[axis].role in ("cost", "optimizer"):
            check_effect((axis,), f"the {roles[axis].role}")
