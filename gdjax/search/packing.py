"""Packing of runs into slabs, such that each run keeps its slot.

    number of slabs = largest number of runs with the same slot

The last bits of a run's results depend on the width of its slab and on its slot, but not on the
other runs. A run that keeps its slot is therefore bitwise equal to that of a full sweep of the same
width.

>>> pack(np.array([0, 1, 1, 3]), 4).tolist()
[[0, 1, -1, 3], [-1, 2, -1, -1]]
>>> pack_densely(4, 3).tolist()
[[0, 1, 2], [3, -1, -1]]
"""

import numpy as np
from jaxtyping import Int


def pack(slots: Int[np.ndarray, " runs"], width: int) -> Int[np.ndarray, "slabs width"]:
    """Return the run in each slot of each slab; -1 for an empty slot.

    Args:
        slots: slot of each run.
        width: number of slots of a slab.
    """
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    rank = np.arange(len(slots)) - np.searchsorted(ordered, ordered)
    table = np.full((int(rank.max(initial=-1)) + 1, width), -1)
    table[rank, ordered] = order
    return table


def pack_densely(num_runs: int, width: int) -> Int[np.ndarray, "slabs width"]:
    """Return the run in each slot of the fewest slabs; -1 for an empty slot."""
    slabs = -(-num_runs // width)
    return np.pad(np.arange(num_runs), (0, slabs * width - num_runs), constant_values=-1).reshape(
        slabs, width
    )
