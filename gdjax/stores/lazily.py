"""Arrays that are read where they are used, as xarray takes them.

    variable[places of each dimension] -> read(places),   every combination of them

The simplest one counts:

>>> def count(wanted):
...     return 10 * wanted[0][:, None] + wanted[1]
>>> lazy(("row", "column"), (3, 4), np.dtype(int), count, fill=0)[1:, ::2].values.tolist()
[[10, 12], [20, 22]]
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

NONE: Mapping[str, Any] = MappingProxyType({})


def lazy(
    dims: Sequence[str],
    shape: Sequence[int],
    dtype: np.dtype,
    read: Callable[[tuple[np.ndarray, ...]], np.ndarray],
    *,
    fill: Any,
    attrs: Mapping[str, Any] = NONE,
) -> Any:
    """A variable of xarray's whose numbers are read when they are used.

    Args:
        dims: names of its dimensions.
        shape: their lengths.
        dtype: type of its numbers.
        read: the numbers at some places of each dimension, for every combination of them.
        fill: what stands where nothing is.
        attrs: of the variable.
    """
    import xarray as xr
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class Lazy(BackendArray):
        def __init__(self):
            self.shape, self.dtype = tuple(shape), np.dtype(dtype)

        def __getitem__(self, key):
            support = indexing.IndexingSupport.OUTER
            return indexing.explicit_indexing_adapter(key, self.shape, support, self.read)

        def read(self, key):
            wanted = [np.arange(n)[k] for n, k in zip(self.shape, key, strict=True)]
            found = read(tuple(map(np.atleast_1d, wanted)))
            return found.reshape([np.size(places) for places in wanted if np.ndim(places)])

    array = indexing.LazilyIndexedArray(Lazy())
    return xr.Variable(dims, array, dict(attrs), {"fill_value": fill})


def grouped(numbers: np.ndarray) -> dict[int, np.ndarray]:
    """Where each number stands.

    Examples:
        >>> {number: at.tolist() for number, at in grouped(np.array([5, 3, 5])).items()}
        {3: [1], 5: [0, 2]}
    """
    order = np.argsort(numbers, kind="stable")
    values, first = np.unique(numbers[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, first)[1:], strict=True))


def orthogonal(*places: np.ndarray) -> tuple[Any, ...]:
    """An index of every combination of places: slices, which copy nothing, where that is possible.

    Examples:
        >>> orthogonal(np.array([2, 3, 4]), np.array([0]))
        (slice(2, 5, None), slice(0, 1, None))
        >>> orthogonal(np.array([4, 2]), np.array([0]))[0].tolist()
        [[4], [2]]
    """
    if all(len(p) and np.all(np.diff(p) == 1) for p in places):
        return tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)
    return np.ix_(*places)
