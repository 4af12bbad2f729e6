"""Summary of the minima in which starts end."""

import numpy as np
import xarray as xr


def beyond(found: xr.Dataset) -> np.ndarray:
    """Return for each rate, momentum and minimum whether the rate exceeds its limit."""
    return found.learning_rate.values[:, None, None] > found.limit.values


def numbers(tree: xr.DataTree) -> dict:
    """Return shares of starts beyond limits, and effects of larger steps."""
    result = {}
    for name, node in tree.children.items():
        found = node.to_dataset()
        share = found.share.transpose("learning_rate", "momentum", "minimum").values
        end = found.end.values
        result[f"{name}_minima"] = found.sizes["minimum"]
        result[f"{name}_limit_least"] = float(found.limit[0].min())
        result[f"{name}_limit_most"] = float(found.limit[0].max())
        result[f"{name}_held_beyond_limit_most"] = float(
            np.max(share, where=beyond(found), initial=0.0)
        )
        result[f"{name}_share_largest_at_smallest_rate"] = float(share[0, 0].max())
        if found.sizes["minimum"] <= 6:
            result[f"{name}_shares_at_smallest_rate"] = share[0, 0].tolist()
        for of_limit in (0.5, 0.9):
            at = int(np.argmin(np.abs(found.of_limit.values - of_limit)))
            result[f"{name}_elsewhere_at_{of_limit:g}"] = float(np.mean(end[at, 0] != end[0, 0]))
        for at, momentum in enumerate(found.momentum.values):
            result[f"{name}_elsewhere_with_momentum_{momentum:g}"] = float(
                np.mean(end[0, at] != end[0, 0])
            )
            held = share[:, at].sum(axis=-1)
            result[f"{name}_half_arrives_up_to_{momentum:g}"] = float(
                np.max(found.of_limit.values, where=held > 0.5, initial=0.0)
            )
    return result
