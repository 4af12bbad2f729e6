"""Default figure of each result: `gd.plot(result)`.

A result is identified by its type, and a Dataset by its attribute `result` (sweeps: `identity`).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr
from matplotlib.axes import Axes

from gdjax.base.arguments import check_text
from gdjax.base.errors import InputError
from gdjax.plots import (
    barriers,
    comparisons,
    flows,
    gradients,
    graph,
    landscapes,
    measurements,
    minima,
    spectrum,
    stability,
    surfaces,
    sweeps,
    training,
    volumes,
)
from gdjax.plots.axes import figure_of
from gdjax.stores.reader import opened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

# Drawers by the name of the type of a result, or by the attribute `result` of a Dataset.
FIGURES: Mapping[str, Callable[..., Any]] = {
    "Descent": training.records,
    "LearningRateResult": stability.learning_rates,
    "Comparison": comparisons.comparison,
    "sweep": sweeps.sweep,
    "comparison": sweeps.sweep,
    "tuning_curve": sweeps.tuning_curves,
    "coordinate_check": stability.coordinate_check,
    "measurement": measurements.measurements,
    "slice": landscapes.line_or_plane,
    "trajectory_plane": landscapes.trajectory,
    "census": minima.frequencies,
    "landscape_graph": graph.merge_tree,
    "census_by": minima.by_setting,
    "basins": surfaces.basin_maps,
    "PairwiseBarriers": barriers.pairwise_barriers,
    "Eigenpairs": spectrum.eigenvalues,
    "SpectralDensity": spectrum.density,
    "GradientSummary": gradients.gradient_norms,
    "Flow": flows.flow_cost,
    "FlowDistance": flows.flow_distances,
    "CentralFlow": flows.central_flow,
    "BasinVolume": volumes.radii,
    "FiniteTemperatureCoefficient": volumes.chain_coefficients,
    "LocalLearningCoefficient": volumes.learning_coefficient,
}


def plot(result: Any, *, title: str = "", variable: str | None = None) -> "Figure":
    """Draw the default figure of a result.

        descend, find_learning_rate             records; final costs by learning rate
        compare                                 paired differences of settings, with verdicts
        sweep, concat, tuning_curve             costs and outcomes by setting; best of k settings
        coordinate_check                        changes of activations by width
        measure                                 measured numbers by setting or step
        line, plane, trajectory_plane           landscape
        count_minima, basins_of_attraction      frequencies of minima; basins
        minima.graph                            tree of the lowest known passes
        pairwise_barriers                       matrix of barriers
        extreme_eigenpairs, spectral_density    spectrum
        gradient_summary                        gradient norms
        gradient_flow, distance_from_flow, central_flow
        basin_volume, finite_temperature_coefficient, local_learning_coefficient

    Args:
        result: what one of these functions returns, or the path or URL of the store of a sweep.
        title: figure title; by default, it summarizes the data.
        variable: recorded number of a sweep that decides which setting is best, the lowest final
            value, such as the cost on test data; None for the training cost.

    Returns:
        A matplotlib Figure, displayed by notebooks; `figure.savefig("name.png")` saves it.

    Raises:
        InputError: if the result has no figure.
        StoreError: if the path contains no store.

    Examples:
        >>> import jax, jax.numpy as jnp, optax
        >>> from gdjax import Problem, descend
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> run = descend(bowl, optax.sgd(0.25), jnp.ones(2), 3, key=jax.random.key(0))
        >>> [axes.get_ylabel() for axes in plot(run).axes]
        ['cost']

        `gdjax.plots` has figures with more options.
    """
    check_text("plot: title", title)
    result = opened(result)
    draw = FIGURES.get(_kind(result))
    if draw is None:
        raise InputError(
            f"plot: result is {_describe(result)}, which has no figure; help(gd.plot) lists the "
            f"results that have one"
        )
    options = {} if variable is None else {"variable": variable}
    if options and draw is not FIGURES["sweep"]:
        raise InputError(f"plot: variable = {variable!r:.80} is for a sweep only; leave it out")
    try:
        axes_or_figure = draw(result, title=title, **options)
    except ValueError as error:
        raise InputError(f"plot: {error}") from error
    return figure_of(axes_or_figure) if isinstance(axes_or_figure, Axes) else axes_or_figure


def _kind(result):
    if isinstance(result, xr.Dataset):
        is_sweep = "identity" in result.attrs and "outcome" in result
        return "sweep" if is_sweep else str(result.attrs.get("result"))
    return type(result).__name__ if type(result).__module__.startswith("gdjax.") else ""


def _describe(result):
    if isinstance(result, xr.Dataset):
        names = ", ".join(map(str, result.data_vars))
        return f"a Dataset of {names} without outcomes or attribute 'result'"
    return f"of type {type(result).__name__}"
