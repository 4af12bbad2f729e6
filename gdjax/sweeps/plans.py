"""Plan of a sweep: what is computed, where, and in which tiles.

    fit(check(Plan(sweep, store, ...))) -> Plan with devices, programs and layout

Tiles are boxes of consecutive runs. Their size affects the number of files, but no result.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gdjax.stores.location import Bucket, Folder, StoreLike, locate
from gdjax.sweeps import identity
from gdjax.sweeps.checkpoint import Positions, Start
from gdjax.sweeps.program import Program, Tile
from gdjax.sweeps.spec import Sweep

MAX_PARAM_BYTES = 2**30  # maximum size of parameters kept in memory without a store
MAX_SHARED_TILES = 64  # maximum number of tiles whose runs share slabs


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep, and where it is computed and stored.

    The arguments from `store` to `allow_unverified` are those of `gd.sweep`, which `check` checks.

    Args:
        sweep: the sweep.
        stored: identity of a store whose tiles and arrays are reused; None for that of `store`, if
            it exists.
        start: states from which runs start; None for those of the sweep.
        keeps_carry: whether the state of runs for further steps is kept.
        programs: programs of the sweep, which `fit` compiles; empty before.
        layout: `Layout` of the arrays that all programs compute and that are kept; None before.
    """

    sweep: Sweep
    store: StoreLike | None = None
    devices: Any = None
    max_param_bytes: int = MAX_PARAM_BYTES
    client: Any = None
    allow_unverified: bool = False
    stored: Mapping[str, Any] | None = None
    start: Start | None = None
    keeps_carry: bool = False
    programs: tuple[Program, ...] = ()
    layout: Any = None

    @property
    def location(self) -> Folder | Bucket:
        """Location of the store."""
        return locate(self.store)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Identity of the sweep, by which its stored numbers are continued."""
        return {**identity.identity(self.sweep), "continuable": self.keeps_carry}

    def program_of(self, tile: Tile) -> int:
        """Return the index of the program of a tile."""
        first = tuple(along.start for along in self.layout.schema.region(tile))
        return self.sweep.axes.box_number(first)

    def positions(self, tile: Tile) -> Positions:
        """Return the positions in the grid of the runs of a tile, in C order."""
        region = self.layout.schema.region(tile)
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
            runs += math.prod(s.stop - s.start for s in self.layout.schema.region(tile))
        return groups
