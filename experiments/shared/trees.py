"""Results of several cases, as a tree with one Dataset for each case."""

from collections.abc import Iterable, Mapping
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
