"""Default figure of each result: `gd.plot(result)`.

    a descent -> its records;   a sweep -> costs and outcomes;   a plane -> the landscape;
    eigenvalues -> the spectrum;   a census -> frequencies of the minima

A result is identified by its type, and a Dataset by its attribute `result` (sweeps: `identity`):

>>> import jax, jax.numpy as jnp, optax
>>> from gdjax import Problem, descend
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> run = descend(bowl, optax.sgd(0.25), jnp.ones(2), 3, key=jax.random.key(0))
>>> [axes.get_ylabel() for axes in plot(run).axes]
['cost']

`gdjax.plots` has figures with more options.
"""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from gdjax.arguments import check_text
from gdjax.curvature.eigenpairs import Eigenpairs
from gdjax.curvature.gradient_summary import GradientSummary
from gdjax.curvature.spectral_density import SpectralDensity
from gdjax.descent import Descent
from gdjax.errors import InputError
from gdjax.flags import current_names
from gdjax.flows.central_flow import CentralFlow
from gdjax.flows.gradient_flow import Flow, FlowDistance
from gdjax.minima.barriers import PairwiseBarriers
from gdjax.minima.end_points import ISOLATED_MINIMA, count_kinds
from gdjax.plots.style import figure_of
from gdjax.statistics import medians
from gdjax.stores import open_dataset
from gdjax.sweeps.axes import SEEDS, axes_along
from gdjax.sweeps.learning_rate import LearningRateResult
from gdjax.volumes.basin_volume import BasinVolume
from gdjax.volumes.learning_coefficient import (
    FiniteTemperatureCoefficient,
    LocalLearningCoefficient,
    SamplingStatus,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

TIMES = ("step", "snapshot_step")
RUN = "__run"  # dimension of the runs that differ only in seeds; no axis has such a name


def plot(result: Any, *, title: str = "") -> "Figure":
    """Draw the default figure of a result.

    Args:
        result: a `Descent`; the Dataset of a sweep, or the path or URL of its store; a DataTree of
            several; the Dataset of `concat`, `tuning_curve`, `coordinate_check`, `line`, `plane`,
            `trajectory_plane`, `count_minima` or `basins_of_attraction`, or a DataTree of planes;
            or the return value of `extreme_eigenpairs`, `spectral_density`, `gradient_summary`,
            `gradient_flow`, `distance_from_flow`, `central_flow`, `pairwise_barriers`,
            `basin_volume`, `finite_temperature_coefficient`, `local_learning_coefficient` or
            `find_learning_rate`.
        title: figure title; by default, it summarizes the data.

    Returns:
        A matplotlib Figure, displayed by notebooks; `figure.savefig("name.png")` saves it.

    Raises:
        InputError: if the type of the result is not supported, or the result has no figure, such as
            a sweep that varies more than two settings.
        StoreError: if the path contains no store.
    """
    check_text("plot: title", title)
    if isinstance(result, str | Path):
        result = open_dataset(result)
    draw = _function_for(result)
    if draw is None:
        raise InputError(
            f"plot: result = {_describe(result)}, expected a Descent, the Dataset of a sweep, its "
            f"store, or the result of compare, concat, tuning_curve, coordinate_check, line, "
            f"plane, trajectory_plane, count_minima, basins_of_attraction, extreme_eigenpairs, "
            f"spectral_density, gradient_summary, gradient_flow, "
            f"distance_from_flow, central_flow, pairwise_barriers, basin_volume, "
            f"finite_temperature_coefficient, local_learning_coefficient or find_learning_rate"
        )
    axes_or_figure = draw(result, title)
    return figure_of(axes_or_figure) if isinstance(axes_or_figure, Axes) else axes_or_figure


def _function_for(result: Any) -> Callable[[Any, str], Any] | None:
    """Return the function that draws a result, or None."""
    if isinstance(result, xr.Dataset):
        return _dataset_function(result)
    if isinstance(result, xr.DataTree):
        functions = {_dataset_function(node.to_dataset()) for node in result.children.values()}
        return {frozenset({_sweep}): _compared, frozenset({_slice}): _planes}.get(
            frozenset(functions)
        )
    return next((draw for kind, draw in BY_TYPE.items() if isinstance(result, kind)), None)


def _dataset_function(dataset):
    is_sweep = "identity" in dataset.attrs and "outcome" in dataset
    name = "sweep" if is_sweep else dataset.attrs.get("result")
    return BY_ATTRIBUTE.get(name)


def _describe(result):
    if isinstance(result, xr.Dataset):
        names = ", ".join(map(str, result.data_vars))
        return f"a Dataset of {names} without outcomes or attribute 'result'"
    return f"of type {type(result).__name__}"


# -- results for one point or one descent


def _descent(run, title):
    from gdjax.plots import training

    return training.records(
        run.recorded_steps,
        run.cost,
        batch_cost=run.batch_cost,
        metrics=run.metrics,
        baseline=run.baseline,
        title=title or f"{run.num_steps:,} steps: {str(run.outcome).replace('_', ' ')}",
    )


def _learning_rate(result, title):
    from gdjax.plots import stability

    if not result.runs:
        raise InputError(
            f"plot: result = a search without descents ({result.status.name}), which has no "
            f"figure; print(result) shows the reason"
        )
    return stability.learning_rates(
        result.learning_rates,
        diverged=result.diverged,
        stalled=result.stalled,
        cost=result.runs[-1].cost.isel(step=-1).values,
        recommended=None if np.isnan(result.learning_rate) else result.learning_rate,
        interval=(result.low, result.high),
        critical_rate=result.critical_rate,
        title=title or "Outcomes by learning rate",
    )


def _density(density, title):
    from gdjax.plots import spectrum

    panel = spectrum.DensityPanel(
        title or "Spectral density of the Hessian",
        np.asarray(density.at),
        np.asarray(density.value),
        np.asarray(density.error),
        float(density.bandwidth),
    )
    return spectrum.densities([panel])


def _eigenpairs(pairs, title):
    from gdjax.plots import spectrum

    return spectrum.eigenvalues(np.asarray(pairs.values), np.asarray(pairs.residuals), title=title)


def _gradient(summary, title):
    from gdjax.plots import gradients

    leaves = jax.tree_util.tree_leaves_with_path(summary.gradient)
    names = [jax.tree_util.keystr(path, simple=True, separator=" ") for path, _ in leaves]
    sizes = np.array([leaf.size for _, leaf in leaves])
    zeros = np.array([int(count) for count in jax.tree.leaves(summary.zeros)])
    return gradients.gradient_norms(
        [name or "parameters" for name in names],
        np.array([float(norm) for norm in jax.tree.leaves(summary.leaf_norms)]),
        zeros / np.maximum(sizes, 1),
        title=title or f"Gradient of norm {float(summary.norm):.3g}",
    )


def _flow(flow, title):
    from gdjax.plots import flows

    time, cost = np.asarray(flow.time), np.asarray(flow.cost)
    finite = cost[np.isfinite(cost)]
    costs = f": cost {finite[0]:.3g} to {finite[-1]:.3g}" if finite.size else ""
    return flows.flow_cost(time, cost, title=title or f"Gradient flow{costs}")


def _flow_distance(result, title):
    from gdjax.plots import flows

    return flows.flow_distances(
        np.asarray(result.time),
        np.asarray(result.learning_rate),
        np.asarray(result.distance),
        title=title or "Distance from the gradient flow",
    )


def _central_flow(flow, title):
    from gdjax.plots import flows

    values = (flow.time, flow.cost, flow.mean_cost, flow.eigenvalues)
    return flows.central_flow(*map(np.asarray, values), title=title or "Central flow")


def _volume(volume, title):
    from gdjax.plots import volumes

    bound = " at least" if volume.lower_bound else ""
    log_volume = f"Log volume{bound} {float(volume.log_volume):.4g}"
    interval = f"{float(volume.low):.4g} to {float(volume.high):.4g}"
    return volumes.radii(
        np.asarray(volume.radii),
        open_directions=int(volume.open_directions),
        title=title or f"{log_volume} (95 %: {interval})",
    )


def _chains(result, title):
    from gdjax.plots import volumes

    return volumes.chain_coefficients(
        float(result.coefficient),
        float(result.standard_error),
        np.asarray(result.chain_coefficients),
        title=title or f"Chains: {SamplingStatus(int(result.status)).label}",
    )


def _learning_coefficient(result, title):
    from gdjax.plots import volumes

    temperatures = np.asarray(result.inverse_temperatures)
    unknown = np.full(len(temperatures), np.nan)
    single = result.at_temperatures
    return volumes.learning_coefficient(
        temperatures,
        unknown if single is None else np.asarray(single.coefficient),
        unknown if single is None else np.asarray(single.standard_error),
        llc_low=float(result.low),
        llc_high=float(result.high),
        title=title or "Local learning coefficient",
    )


# -- sweeps


def _settings(runs):
    """Sort a sweep by its numeric axes, and drop settings with a single value.

    Returns:
        The runs, and the names of the dimensions of compared axes and of seeds.
    """
    along = {dim: axes for dim, axes in axes_along(runs).items() if dim in runs.outcome.dims}
    seeds = [dim for dim, axes in along.items() if set(axes) <= set(SEEDS)]
    settings = [dim for dim in along if dim not in (*seeds, *TIMES)]
    compared = [name for name in settings if runs.sizes[name] > 1]
    runs = runs.isel({name: 0 for name in settings if name not in compared})
    numbers = [name for name in compared if runs[name].dtype.kind in "iuf"]
    return runs.sortby(numbers), compared, seeds


def _name_constants(axes, runs):
    """Append the constant settings to the title of axes: ", momentum 0.9"."""
    constants = {
        name.replace("_", " "): coordinate.item()
        for name, coordinate in runs.coords.items()
        if coordinate.ndim == 0
    }
    title = [axes.get_title(loc="left")]
    title += [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in constants.items()
    ]
    axes.set_title(", ".join(title), loc="left", wrap=True)


def _final_records(runs, compared, repeats):
    """Return runs at their last record, with dimensions [settings..., RUN]."""
    final = runs.isel(step=-1)
    if not repeats:
        return final.expand_dims(RUN, axis=-1)
    return final.stack({RUN: repeats}, create_index=False).transpose(*compared, RUN, ...)


def _baseline(runs):
    if "identity" not in runs.attrs:  # joined by concat
        return runs.attrs.get("baseline")
    identity = runs.attrs["identity"]
    return (json.loads(identity) if isinstance(identity, str) else identity).get("baseline")


def _sweep(runs, title):
    from gdjax.plots import sweeps

    baseline = _baseline(runs)
    runs, compared, repeats = _settings(runs)
    if len(compared) > 2:
        raise InputError(
            f"plot: the sweep compares {', '.join(compared)}, but a figure shows at most two "
            f"settings; choose one value of the others: runs.sel({compared[-1]}=...)"
        )
    if len(compared) == 0:
        label = " and ".join(repeats) or "run"
        cost = runs.cost.stack({RUN: repeats}, create_index=False) if repeats else runs.cost
        values = cost.transpose(RUN, "step") if repeats else cost.expand_dims(RUN)
        axes_or_figure: Any = sweeps.curves(
            runs.step.values, values.values, baseline=baseline, label=label, title=title
        )
    else:
        final = _final_records(runs, compared, repeats)
        axes = [sweeps.Setting(name, runs[name].values) for name in compared]
        outcomes = current_names(runs.outcome.attrs)
        if len(compared) == 2:
            stalled = [final.outcome.values == k for k, n in enumerate(outcomes) if n == "stalled"]
            rows, columns = axes
            axes_or_figure = sweeps.map_by_settings(
                rows, columns, final.cost.values, *stalled, baseline=baseline, title=title
            )
        else:
            axes_or_figure = sweeps.outcomes_by_setting(
                *axes,
                final.test_accuracy.values if "test_accuracy" in runs else None,
                final.cost.values,
                final.outcome.values,
                outcomes=outcomes,
                baseline=baseline,
                title=title,
            )
    if not title:
        _name_constants(
            axes_or_figure if isinstance(axes_or_figure, Axes) else axes_or_figure.axes[0], runs
        )
    return axes_or_figure


def _tuning_curve(curve, title):
    from gdjax.plots import sweeps

    *by, _ = curve.expected_best.dims
    names = [f"median_best{suffix}" for suffix in ("", "_low", "_high")]
    values = np.stack([curve[name].values.reshape(-1, curve.sizes["trials"]) for name in names], 1)
    points = itertools.product(*(curve[name].values.tolist() for name in by))
    labels = [", ".join(map(str, point)) or curve.metric for point in points]
    metric = curve.attrs["metric"].replace("_", " ")
    return sweeps.tuning_curves(
        curve.trials.values,
        dict(zip(labels, map(tuple, values), strict=True)),
        value_label=f"median best {metric}",
        direction=curve.attrs["direction"],
        title=title,
    )


def _compared(tree, title):
    from gdjax.plots import sweeps

    rows = {}
    for name, node in tree.children.items():
        runs, compared, repeats = _settings(node.to_dataset())
        if len(compared) > 1:
            raise InputError(
                f"plot: {name} compares {', '.join(compared)}, but the figure shows one setting; "
                f"choose one value of the others: tree.sel({compared[-1]}=...)"
            )
        cost = _final_records(runs, compared, repeats).cost.values
        setting = sweeps.Setting(compared[0], runs[compared[0]].values) if compared else None
        rows[name] = (setting, cost)
    return sweeps.compared(rows, title=title)


def _coordinate_check(result, title):
    from gdjax.plots import coordinates

    change, low, high = medians(result.change.transpose("layer", "step", "width", "seed").values)
    return coordinates.coordinate_check(
        result.width.values,
        change,
        low=low,
        high=high,
        slope=result.slope.transpose("layer", "step").values,
        layers=result.layer.values.tolist(),
        steps=result.step.values,
        title=title,
    )


# -- landscapes and minima


def _slice(dataset, title):
    from gdjax.plots import landscapes

    dimensions = dataset.cost.dims
    if dimensions == ("a",):
        name = str(dataset.a.attrs.get("long_name", "line"))
        return landscapes.lines({name: dataset}, title=title)
    if dimensions == ("a", "b"):
        return landscapes.planes({"": {title: dataset}})
    raise InputError(
        f"plot: the cost has dimensions {', '.join(map(str, dimensions))}, expected a line (a) or "
        f"a plane (a, b); choose one value of the others: dataset.sel(c=..., method='nearest')"
    )


def _planes(tree, title):
    from gdjax.plots import landscapes

    planes = {str(name): node.to_dataset() for name, node in tree.children.items()}
    return landscapes.planes({"": planes}, title=title)


def _trajectory(dataset, title):
    from gdjax.plots import landscapes

    return landscapes.descents({title or "Descent in its principal plane": dataset})


def _census(dataset, title):
    from gdjax.plots import minima

    runs = dataset.sizes["run"]
    isolated = {kind.label for kind in ISOLATED_MINIMA}
    count = dataset.sizes["minimum"]
    return minima.frequencies(
        dataset.share.values,
        dataset.share_low.values,
        dataset.share_high.values,
        dataset.minimum_cost.values,
        others={k: n / runs for k, n in count_kinds(dataset).items() if k not in isolated},
        title=title or f"{count} minim{'um' if count == 1 else 'a'} in {runs} runs",
    )


def _barriers(result, title):
    from gdjax.plots import barriers

    matrices = {"straight": result.barrier}
    if result.symmetries_known:
        matrices["after matching"] = result.matched_barrier
    return barriers.barrier_matrix(matrices, label="barrier in cost", unit="run", title=title)


def _basins(dataset, title):
    from gdjax.plots import basin_maps

    return basin_maps.basin_maps(dataset, title=title)


BY_TYPE: dict[type, Callable[[Any, str], Any]] = {
    Descent: _descent,
    LearningRateResult: _learning_rate,
    SpectralDensity: _density,
    Eigenpairs: _eigenpairs,
    GradientSummary: _gradient,
    Flow: _flow,
    FlowDistance: _flow_distance,
    CentralFlow: _central_flow,
    BasinVolume: _volume,
    FiniteTemperatureCoefficient: _chains,
    LocalLearningCoefficient: _learning_coefficient,
    PairwiseBarriers: _barriers,
}
BY_ATTRIBUTE: dict[Any, Callable[[Any, str], Any]] = {
    "sweep": _sweep,
    "comparison": _sweep,
    "coordinate_check": _coordinate_check,
    "slice": _slice,
    "trajectory_plane": _trajectory,
    "census": _census,
    "basins": _basins,
    "tuning_curve": _tuning_curve,
}
