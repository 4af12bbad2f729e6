"""Summary of the minima reached from a grid of starts."""

import numpy as np
import xarray as xr


def beyond(basins: xr.Dataset) -> np.ndarray:
    """Return whether rates exceed stability limits, [rates, momenta, minima]."""
    return basins.learning_rate.values[:, None, None] > basins.limit.values


def numbers(tree: xr.DataTree) -> dict:
    """Return stability limits, shares of starts, and effects of rate and momentum."""
    result = {}
    for name, node in tree.children.items():
        basins = node.to_dataset()
        share = basins.share.transpose("learning_rate", "momentum", "minimum").values
        end = basins.end.values
        result[f"{name}_minima"] = basins.sizes["minimum"]
        result[f"{name}_limit_least"] = float(basins.limit[0].min())
        result[f"{name}_limit_most"] = float(basins.limit[0].max())
        result[f"{name}_held_beyond_limit_most"] = float(
            np.max(share, where=beyond(basins), initial=0.0)
        )
        result[f"{name}_share_largest_at_smallest_rate"] = float(share[0, 0].max())
        if basins.sizes["minimum"] <= 6:
            result[f"{name}_shares_at_smallest_rate"] = share[0, 0].tolist()
        for fraction in (0.5, 0.9):
            at = int(np.argmin(np.abs(basins.of_limit.values - fraction)))
            result[f"{name}_elsewhere_at_{fraction:g}"] = float(np.mean(end[at, 0] != end[0, 0]))
        for at, momentum in enumerate(basins.momentum.values):
            result[f"{name}_elsewhere_with_momentum_{momentum:g}"] = float(
                np.mean(end[0, at] != end[0, 0])
            )
            held = share[:, at].sum(axis=-1)
            result[f"{name}_half_arrives_up_to_{momentum:g}"] = float(
                np.max(basins.of_limit.values, where=held > 0.5, initial=0.0)
            )
    return result
