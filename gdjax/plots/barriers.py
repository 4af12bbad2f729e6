"""Matrices of the barriers between all pairs of networks or minima."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gdjax.plots.style import Figure, style

MAX_LABELS = 16  # maximum number of labeled rows


def barrier_matrix(
    matrices: Mapping[str, Float[np.ndarray, "runs runs"]],
    *,
    unit: str = "network",
    title: str = "",
) -> Figure:
    """Draw matrices of pairwise barriers side by side.

    All matrices share one color scale and one order of rows, from the clusters of the last one.

    Args:
        matrices: matrices by name, such as before and after matching; symmetric, 0 on the
            diagonal, NaN where undefined.
        unit: name of the object that a row represents.
        title: figure title.

    Examples:
        >>> matrix = np.array([[0.0, 0.5], [0.5, 0.0]])
        >>> print(barrier_matrix({"straight": matrix}).axes[0].get_title("left"))
        straight
        median 0.5
    """
    order = cluster_order(list(matrices.values())[-1])
    step = -(-len(order) // MAX_LABELS)
    highest = max((float(m[np.isfinite(m)].max(initial=0)) for m in matrices.values()), default=0)
    with style():
        figure = Figure(figsize=(4.6 * len(matrices) + 1.4, 5.9))
        panels = figure.subplots(1, len(matrices), squeeze=False, sharey=True)[0]
        for axes, (name, matrix) in zip(panels, matrices.items(), strict=True):
            image = axes.imshow(matrix[np.ix_(order, order)], vmin=0, vmax=highest or 1)
            pairs = matrix[~np.eye(len(matrix), dtype=bool)]
            median = np.median(pairs[np.isfinite(pairs)]) if np.isfinite(pairs).any() else np.nan
            axes.set(title=f"{name}\nmedian {median:.3g}", xlabel=f"{unit}, ordered by cluster")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_ticks(range(0, len(order), step), [str(k) for k in order[::step]])
        panels[0].set_ylabel(f"{unit}, ordered by cluster")
        figure.colorbar(image, ax=list(panels), shrink=0.85, label="barrier in cost")
        if title:
            figure.suptitle(title, x=0.02, ha="left")
    return figure


def pairwise_barriers(result: Any, *, unit: str = "run", title: str = "") -> Figure:
    """Draw barriers before and, where symmetries are known, after matching.

    Args:
        result: result of `pairwise_barriers`, or a census with barriers.
        unit: name of the object that a row represents.
        title: figure title.
    """
    matrices = {"straight": np.asarray(result.barrier)}
    matched = np.asarray(result.matched_barrier)
    if np.isfinite(matched).any():
        matrices["after matching"] = matched
    return barrier_matrix(matrices, unit=unit, title=title)


def cluster_order(distances: Float[np.ndarray, "runs runs"]) -> Int[np.ndarray, " runs"]:
    """Return the order of the leaves of average-linkage clustering.

    NaN counts as larger than all other distances.

    Examples:
        >>> x = np.array([0.0, 9.0, 1.0, 10.0])
        >>> cluster_order(np.abs(x[:, None] - x)).tolist()
        [0, 2, 1, 3]
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(distances) < 3:
        return np.arange(len(distances))
    largest = 2 * np.max(distances, initial=1, where=np.isfinite(distances))
    filled = np.where(np.isfinite(distances), distances, largest)
    np.fill_diagonal(filled, 0)
    pairs = squareform(filled, checks=False)
    tree = hierarchy.linkage(pairs, "average")
    return hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, pairs))
