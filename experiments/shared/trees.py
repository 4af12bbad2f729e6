"""Results of several cases, as a tree with one Dataset for each case."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import xarray as xr


def tree_of(cases: Mapping[str, xr.Dataset], **attributes: Any) -> xr.DataTree:
    """Return a tree with the Dataset of each case, and with attributes."""
    tree = xr.DataTree.from_dict(cases)
    tree.attrs = attributes
    return tree


def datasets(tree: Any, order: Iterable[str] = ()) -> dict[str, xr.Dataset]:
    """Return the Dataset of each case by its name, in a given order; a store sorts the names."""
    names = [name for name in order or tree.children if name in tree.children]
    return {name: tree[name].to_dataset() for name in names}


def nested(part: xr.Dataset, dims: Iterable[str], entries: Callable[[xr.Dataset], dict]) -> dict:
    """Return entries of a summary at each coordinate of some dimensions, below their names.

    >>> two = xr.Dataset({"cost": ("rate", [0.5, 0.25])}, {"rate": [1, 2]})
    >>> nested(two, ["rate"], lambda one: {"cost": float(one.cost)})
    {'rate': {'1': {'cost': 0.5}, '2': {'cost': 0.25}}}
    """
    dim, *rest = dims
    inner = (lambda one: nested(one, rest, entries)) if rest else entries
    return {dim: {str(at): inner(part.sel({dim: at})) for at in part[dim].values}}
