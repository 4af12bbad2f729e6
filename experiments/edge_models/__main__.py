"""Which flow predicts the center of descent at the edge of stability?

    relative distance at t:  min over |k| <= window of |c_flow(t) - c_descent(t + k)|
                             / |c_descent(t) - c_descent(0)|,   t and k in records

    python -m experiments.edge_models           (about 7 min on two cores)

Expected: the rod flow has the smallest distance at the rates at which the central flow fails. This
is refuted for a case if the interval of the ratio of its distance to that of the central flow lies
above 1, and not established if the interval contains 1.
"""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from experiments.shared import command
from experiments.shared.edges import dots_per_start
from experiments.shared.trees import datasets
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, style
from gdjax.statistics import median

from .model import Config, cases, followed

LABELS = {
    "gradient": ("gradient flow", VERMILLION),
    "central": ("central flow", ORANGE),
    "rod": ("rod flow", BLUE),
    "edge": ("edge flow", GREEN),
    "moved": ("descent, start moved", GREY),
}
AT_EDGE = 1.99  # product of rate and curvature above which a run has reached the edge


def typical(distance: xr.DataArray) -> np.ndarray:
    """Return median distances over the second half of the steps, omitting NaN.

    They are +inf for runs that were not completed.
    """
    values = distance.transpose(..., "step").values
    return np.nanmedian(values[..., values.shape[-1] // 2 :], axis=-1)


def numbers(tree: xr.DataTree) -> dict:
    """Return distances, their ratios to those of the central flow, counts and times.

    The counts are numbers of runs that were completed, reached the edge, stayed bounded, or have a
    distance above that of the second descent. For runs that start below the edge, the ratios of the
    rod flow are listed. The times are processor times in seconds.
    """
    summary: dict = {}
    for name, part in datasets(tree).items():
        for index, rate in enumerate(part.learning_rate.values):
            at, label = part.isel(learning_rate=index), f"{name}_rate_{rate:g}"
            rows = {model: typical(at[f"{model}_distance"]) for model in LABELS}
            for model, distances in rows.items():
                summary |= {
                    f"{label}_{model}": median(distances)[:3],
                    f"{label}_{model}_to_central": ratio(distances, rows["central"]),
                    f"{label}_rod_to_{model}": ratio(rows["rod"], distances),
                    f"{label}_{model}_above_floor": int(np.sum(distances > rows["moved"])),
                    f"{label}_{model}_completed": int(at[f"{model}_completed"].sum()),
                }
            below = (at.central_product.isel(step=0) < AT_EDGE).values
            from_below = (rows["rod"] / rows["central"])[below]
            summary |= {
                f"{label}_at_edge": int((at.rod_product.max("step") > AT_EDGE).sum()),
                f"{label}_rod_to_central_from_below": from_below.tolist(),
                f"{label}_bounded": int(at.bounded.sum()),
            }
        for model in LABELS:
            summary[f"{name}_{model}_processor_seconds"] = float(part[f"{model}_seconds"])
    return summary


def ratio(values: np.ndarray, reference: np.ndarray) -> list[float] | None:
    """Return the median of values / reference with its interval, or None without a ratio.

    A ratio is +inf or 0 if only one of its numbers is infinite, and omitted if both are.
    """
    measured = np.isfinite(values) | np.isfinite(reference)
    ratios = values[measured] / reference[measured]
    return list(median(ratios)[:3]) if len(ratios) else None


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each case."""
    return xr.DataTree.from_dict(
        {name: followed(config, *settings) for name, settings in cases(config).items()}
    )


def example(run: xr.Dataset, title: str) -> Figure:
    """Draw distances, amplitudes and curvatures of the models along one descent."""
    step = run.step.values
    with style():
        figure = Figure(figsize=(16, 5))
        left, middle, right = figure.subplots(1, 3)
        middle.plot(step, run.descent_amplitude, color=BLACK, linewidth=0.7, label="descent")
        for model, (label, color) in LABELS.items():
            distance = run[f"{model}_distance"]
            left.plot(step, distance.where(abs(distance) < float("inf")), color=color, label=label)
            if model in ("central", "rod", "edge"):
                amplitude = run[f"{model}_amplitude"]
                middle.plot(step, amplitude.where(amplitude > 0), color=color, label=label)
                right.plot(step, run[f"{model}_product"], color=color, label=label)
        right.axhline(2, color=BLACK, linestyle=":", linewidth=1)
        for axes, name in (
            (left, "distance of centers / distance from the start"),
            (middle, "amplitude of the oscillation"),
            (right, "learning rate · curvature"),
        ):
            axes.set(xlabel="step of descent", ylabel=name)
            axes.legend()
        left.set(yscale="log", title=title)
        middle.set_yscale("log")
        right.set_ylim(0, 3)
    return figure


def plot(tree: xr.DataTree) -> dict:
    """Draw distances for all starts, and a run of the first case at its last rate."""
    rows = {
        f"{name}, η = {rate:g}": {
            model: typical(part[f"{model}_distance"].isel(learning_rate=index)) for model in LABELS
        }
        for name, part in datasets(tree).items()
        for index, rate in enumerate(part.learning_rate.values)
    }
    figure, axes = dots_per_start(rows, LABELS)
    axes.set_xlabel("distance of centers / distance from the start, median over time")
    name, first = next(iter(datasets(tree).items()))
    shown = first.isel(learning_rate=-1, seed=0)
    title = f"{name} network, η = {shown.learning_rate:g}"
    return {"distances": figure, "example": example(shown, title)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
