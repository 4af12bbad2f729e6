"""Results of several cases, as a tree with one Dataset for each case."""

from collections.abc import Mapping
from typing import Any

import xarray as xr


def tree_of(cases: Mapping[str, xr.Dataset], **attributes: Any) -> xr.DataTree:
    """Return a tree with the Dataset of each case, and with attributes."""
    tree = xr.DataTree.from_dict(cases)
    tree.attrs = attributes
    return tree


def datasets(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the Dataset of each case by its name."""
    return {name: node.to_dataset() for name, node in tree.children.items()}
