"""One call draws what a result is for: `gd.plot(result)`.

    a descent -> its curves;   a sweep -> how its runs ended;   a plane -> the landscape;
    eigenvalues -> the spectrum;   a census -> how often each minimum was found

The kind of a result is told by its type, or by what its Dataset holds:

>>> import jax, jax.numpy as jnp, optax
>>> from gdjax import Problem, descend
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> run = descend(bowl, optax.sgd(0.25), jnp.ones(2), 3, key=jax.random.key(0))
>>> [axes.get_ylabel() for axes in plot(run).axes]
['cost']

Pictures with more choices are in `gdjax.plots`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax.curvature.eigenpairs import Eigenpairs
from gdjax.curvature.spectral_density import SpectralDensity
from gdjax.descent import Descent
from gdjax.errors import InputError
from gdjax.flags import current_names
from gdjax.sweeps import Advice
from gdjax.sweeps.axes import SEEDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot"]

TIMES = ("step", "snapshot_step")


def plot(result: Any, *, title: str = "") -> "Figure":
    """The picture that a result is for.

    Args:
        result: a `Descent`; the Dataset of a sweep, of a line, a plane or a descent's plane, of a
            census or of basins; the DataTree of `compare`; eigenvalues from `extremes`; a spectral
            density; advice on learning rates.
        title: of the picture; None of its own where a picture is named after its data.

    Returns:
        A Figure of matplotlib: a notebook shows it, `figure.savefig("name.png")` saves it.

    Raises:
        InputError: nothing that can be drawn; a sweep over more than two settings.
    """
    for kind, draw in (
        (Descent, _descent),
        (Advice, _advice),
        (SpectralDensity, _density),
        (Eigenpairs, _eigenpairs),
    ):
        if isinstance(result, kind):
            return draw(result, title)
    sizes, names = getattr(result, "sizes", None), getattr(result, "data_vars", None)
    if hasattr(result, "children") and result.children:
        return _compared(result, title)
    if sizes is not None and names is not None:
        for mark, draw in (
            ("arrived_at", _basins),
            ("minimum_of", _census),
            ("outcome", _sweep),
            ("path_a", _way),
            ("cost", _slice),
        ):
            if mark in names:
                return draw(result, title)
    raise InputError(
        f"plot: result = {_told(result)}, expected a Descent, what a sweep, compare, line, plane, "
        f"trajectory_plane, census, basins, extremes, density or advise returned"
    )


def _told(result):
    names = getattr(result, "data_vars", None)
    if names is not None:
        return f"a Dataset of {', '.join(map(str, names))}"
    return f"of type {type(result).__name__}"


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


def _advice(advice, title):
    from gdjax.plots import stability

    runs = advice.runs.transpose("learning_rate", "seed", ...)
    along = runs.sharpness.isel(step=slice(1, None)).max("step", skipna=True)
    return stability.advice(
        advice.learning_rates,
        diverged=advice.diverged,
        stalled=advice.stalled,
        cost=runs.cost.isel(step=-1).values,
        along=along.values,
        limit=advice.limit,
        bound_at_start=advice.bound_at_start,
        recommended=advice.learning_rate,
        title=title or "Which learning rates work, and why",
    )


def _density(density, title):
    from gdjax.plots import spectrum

    at, value, error, width = (
        np.asarray(a) for a in (density.at, density.value, density.error, density.width)
    )
    panel = spectrum.Spread(
        title or "How the eigenvalues of the Hessian are spread", at, value, error, float(width)
    )
    return spectrum.densities([panel])


def _eigenpairs(pairs, title):
    from gdjax.plots import spectrum

    values, residuals = np.asarray(pairs.values), np.asarray(pairs.residuals)
    return spectrum.eigenvalues(values, residuals, title=title)


def _settings(runs):
    """Split the axes of a sweep into compared, repeated and constant ones, and sort the numbers.

    Returns:
        The runs without the constant axes, names of the compared axes and of the seeds.
    """
    axes = [name for name in runs.outcome.dims if name not in TIMES]
    settings = [name for name in axes if name not in SEEDS]
    compared = [name for name in settings if runs.sizes[name] > 1]
    runs = runs.isel({name: 0 for name in settings if name not in compared})
    numbers = [name for name in compared if runs[name].dtype.kind in "iuf"]
    return runs.sortby(numbers), compared, [name for name in axes if name in SEEDS]


def _name_constants(figure, runs):
    """Add the settings that do not vary to the title of a picture: ", momentum 0.9"."""
    constants = {
        name.replace("_", " "): coordinate.item()
        for name, coordinate in runs.coords.items()
        if coordinate.ndim == 0
    }
    title = [figure.axes[0].get_title(loc="left")]
    title += [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in constants.items()
    ]
    figure.axes[0].set_title(", ".join(title), loc="left", wrap=True)
    return figure


def _ends(runs, compared, repeats):
    """Runs at their last record, [settings..., repeats]."""
    ends = runs.isel(step=-1)
    if not repeats:
        return ends.expand_dims("run", axis=-1)
    return ends.stack(run=repeats, create_index=False).transpose(*compared, "run", ...)


def _sweep(runs, title):
    from gdjax.plots import sweeps

    runs, compared, repeats = _settings(runs)
    if len(compared) > 2:
        raise InputError(
            f"plot: the sweep compares {', '.join(compared)}, and a picture has room for two; "
            f"choose one value of the others: runs.sel({compared[-1]}=...)"
        )
    identity = runs.attrs.get("identity")
    baseline = identity.get("baseline") if isinstance(identity, dict) else None
    if len(compared) == 0:
        label = " and ".join(repeats) or "run"
        cost = runs.cost.stack(run=repeats, create_index=False) if repeats else runs.cost
        values = cost.transpose("run", "step") if repeats else cost.expand_dims("run")
        figure = sweeps.curves(
            runs.step.values, values.values, baseline=baseline, label=label, title=title
        )
    else:
        ends = _ends(runs, compared, repeats)
        axes = [sweeps.Setting(name, runs[name].values) for name in compared]
        outcomes = current_names(runs.outcome.attrs)
        if len(compared) == 2:
            stalled = [ends.outcome.values == k for k, n in enumerate(outcomes) if n == "stalled"]
            rows, columns = axes
            figure = sweeps.map_by_settings(
                rows, columns, ends.cost.values, *stalled, baseline=baseline, title=title
            )
        else:
            figure = sweeps.ends_by_setting(
                *axes,
                ends.test_accuracy.values if "test_accuracy" in runs else None,
                ends.cost.values,
                ends.outcome.values,
                outcomes=outcomes,
                baseline=baseline,
                title=title,
            )
    return figure if title else _name_constants(figure, runs)


def _compared(tree, title):
    from gdjax.plots import sweeps

    rows, setting = {}, None
    for name, node in tree.children.items():
        runs = node.to_dataset()
        if "outcome" not in runs:
            raise InputError(f"plot: {name} holds no runs, expected what compare returned")
        runs, compared, repeats = _settings(runs)
        if len(compared) > 1:
            raise InputError(
                f"plot: {name} compares {', '.join(compared)}, and the picture has room for one; "
                f"choose one value of the others: tree.sel({compared[-1]}=...)"
            )
        ends = _ends(runs, compared, repeats).cost.values
        axis = sweeps.Setting(compared[0], runs[compared[0]].values) if compared else None
        setting = axis if axis is not None else setting
        rows[name] = (axis, ends)
    return sweeps.compared(rows, title=title)


def _slice(seen, title):
    from gdjax.plots import landscapes

    dimensions = seen.cost.dims
    if dimensions == ("a",):
        return landscapes.lines({str(seen.a.attrs.get("long_name", "line")): seen}, title=title)
    if dimensions == ("a", "b"):
        return landscapes.planes({"": {title: seen}})
    raise InputError(
        f"plot: the cost is over {', '.join(map(str, dimensions))}, expected a line (a) or a plane "
        f"(a, b); choose one value of the others: seen.sel(c=..., method='nearest')"
    )


def _way(seen, title):
    from gdjax.plots import landscapes

    if seen.cost.dims != ("a", "b"):
        raise InputError("plot: a descent without a plane, expected what trajectory_plane returned")
    return landscapes.descents({title or "The descent on its own plane": seen})


def _census(found, title):
    from gdjax.minima import count_end_points
    from gdjax.minima.end_points import ISOLATED_MINIMA
    from gdjax.plots import minima

    runs = found.sizes["run"]
    points = {point.label for point in ISOLATED_MINIMA}
    count = found.sizes["minimum"]
    return minima.frequencies(
        found.share.values,
        found.share_low.values,
        found.share_high.values,
        found.minimum_cost.values,
        rest={kind: n / runs for kind, n in count_end_points(found).items() if kind not in points},
        title=title or f"{runs} runs found {count} minim{'um' if count == 1 else 'a'}",
    )


def _basins(found, title):
    from gdjax.plots import basin_maps

    drawn = [
        (r, m) for m in range(found.sizes["momentum"]) for r in range(found.sizes["learning_rate"])
    ]
    return basin_maps.maps_of(*basin_maps.from_dataset(found, drawn), title=title)
