"""How sharp does a cost become under mini-batch descent, and does the sampling of batches matter?

    batch sharpness = E[g^T H_B g] / E|g|^2 over mini-batches B,   compared with 2 / eta at the end

    python -m experiments.stochastic_edge           (about 10 min on two cores)

Expected: eta / 2 times the batch sharpness settles at 1 within 10 % for every batch size at the
larger rates, and the sharpness of the full-batch cost is lower for smaller batches. With shuffled
batches of half of the samples, the latter exceeds 2 / eta; with replacement, it does not. This is
refuted by intervals outside 0.9 to 1.1 at the majority of the rates at which the sharpness has
become stationary, or by intervals of the two ways of sampling that overlap.
"""

from itertools import product

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.plots.style import CYCLE, GREY, Figure, style
from gdjax.statistics import median

from . import model as methods
from .oscillation import Config, constrained_path

PARTS = ("net", "image", "gradual", "noisy", "flow")  # prefixes of the variables
AVERAGES = (
    "path_batch",
    "stationary",
    "additive",
    "center",
    "curvature_variance",
    "drift",
    "limit_shuffled",
    "limit_replacement",
)


def within(dataset: xr.Dataset, part: str) -> xr.Dataset:
    """Return the variables of one part, without the prefix of their names."""
    start = f"{part}_"
    names = [str(n) for n in dataset.data_vars if str(n).startswith(start)]
    return dataset[names].rename({n: n.removeprefix(start) for n in names})


def middle_of_orders(values: xr.DataArray) -> xr.DataArray:
    """Return the median over orders; runs from the same start are not independent."""
    return values.median("data_seed") if "data_seed" in values.dims else values


def triple(values: xr.DataArray) -> list[float] | None:
    """Return the median over starts with its interval; None if no value is finite."""
    flat = middle_of_orders(values).values
    finite = flat[np.isfinite(flat)]
    return list(median(finite)[:3]) if len(finite) else None


def triples(values: xr.DataArray, dim: str) -> list[list[float] | None]:
    """Return the `triple` at each coordinate of a dimension."""
    return [triple(values.sel({dim: at})) for at in values[dim].values]


def predicted(share: xr.DataArray) -> xr.DataArray:
    """Return the sharpness at equilibrium for 1 - (1 - eta S)^2 = share.

        eta S / 2 = (1 + sqrt(1 - share)) / 2

    It is NaN if the share exceeds 1.

    Examples:
        >>> predicted(xr.DataArray([0.0, 0.75, -1.25])).values.tolist()
        [1.0, 0.75, 1.25]
    """
    return (1 + np.sqrt((1 - share).where(share <= 1))) / 2


def gap_share(dataset: xr.Dataset, noise: float, size: int) -> xr.DataArray:
    """Return eta^2 sigma^2 beta / (2 alpha) on the central flow; NaN where alpha is not above 0.

    The variance sigma^2 is that of u . g over independent mini-batches with noise in the targets.
    """
    flow = within(dataset, "flow")
    variance = (flow.gradient_variance + noise**2 * flow.target_variance) / size
    share = dataset.attrs["rate"] ** 2 * variance * flow.beta / (2 * flow.alpha)
    return share.where(flow.alpha > 0)


def numbers(dataset: xr.Dataset) -> dict:
    """Return all medians with intervals over starts, by part, sampling and batch size."""
    net, image, gradual, noisy, flow = (within(dataset, name) for name in PARTS)
    rate, sizes = dataset.attrs["rate"], dataset["size"].values
    summary: dict = {
        "rates": dataset.learning_rate.values,
        "flow_sharpness": triple((flow.sharpness * rate / 2).median("point")),
        "flow_second": triple((flow.second * rate / 2).median("point")),
        "flow_alpha_positive": float((flow.alpha > 0).mean()),
        "flow_completed": int(flow.completed.sum()),
    }
    for sampling, size in product(dataset.sampling.values, dataset.batch_size.values):
        part = net.sel(sampling=sampling, batch_size=size)
        bound = part.stationary * part.along_hessian**2 / part.distance_hessian
        sign = -1 if sampling == "shuffled" else 1
        entries = {
            **{name: triples(part[name], "learning_rate") for name in ("batch", "ratios", "whole")},
            **{name: triple(part[name]) for name in AVERAGES},
            "error": np.nanmedian(part.error),
            "diverged": int(part.diverged.sum()),
            "cost": part.cost.median(["seed", "data_seed"]).values,
            "bound": triple(bound),
            "bound_holds": bool((bound <= part.path_batch * 1.001).all()),
            "scalar": triple(predicted(sign * part.curvature_variance)),
        }
        summary |= {f"{name}_{sampling}_{size}": value for name, value in entries.items()}
    for sampling, size in product(dataset.sampling.values, dataset.image_size.values):
        part = image.sel(sampling=sampling, image_size=size)
        entries = {
            "batch": triple(part.batch),
            "whole": triple(part.whole),
            "cost": np.median(part.cost),
            "diverged": int(part.diverged.sum()),
        }
        summary |= {f"image_{name}_{sampling}_{size}": value for name, value in entries.items()}
    for sampling, size in product(dataset.sampling.values, sizes):
        part, label = noisy.sel(sampling=sampling, size=size), f"{sampling}_{size}"
        summary[f"noisy_{label}"] = triples(part.whole, "label_noise")
        summary[f"noisy_batch_{label}"] = triples(part.batch, "label_noise")
        summary[f"noisy_diverged_{label}"] = int(part.diverged.sum())
    for prefix, dim, part in (
        ("", "batch_size", net.sel(learning_rate=rate)),
        ("image_", "image_size", image),
    ):
        whole = middle_of_orders(part.whole)
        difference = whole.sel(sampling="shuffled") - whole.sel(sampling="replacement")
        for size in part[dim].values:
            summary[f"{prefix}difference_{size}"] = triple(difference.sel({dim: size}))
    for size in sizes:
        part = gradual.sel(size=size)
        shares = [gap_share(dataset, n, size).median("point") for n in noisy.label_noise.values]
        summary |= {
            f"gradual_{size}": triples(part.whole, "copies"),
            f"gradual_diverged_{size}": int(part.diverged.sum()),
            f"gap_{size}": [triple(predicted(share)) for share in shares],
            f"gap_share_{size}": [triple(share) for share in shares],
        }
    return summary


def run(config: Config) -> xr.Dataset:
    """Return all measurements, with names prefixed by their part."""
    parts = {
        "net": methods.networks(config),
        "gradual": methods.gradual(config).squeeze("learning_rate", drop=True),
        "noisy": methods.noisy(config).squeeze("learning_rate", drop=True),
        "flow": constrained_path(config),
        "image": methods.images(config).squeeze("learning_rate", drop=True),
    }
    named = [
        part.drop_vars(["seed", "data_seed"], errors="ignore").rename(
            {str(n): f"{name}_{n}" for n in part.data_vars}
        )
        for name, part in parts.items()
    ]
    return xr.merge(named, join="exact").assign_attrs(rate=config.rate)


def plot(dataset: xr.Dataset) -> dict:
    """Draw the effect of sampling, of copies and of noise, and the batch sharpness.

    Starts are dots, their medians are lines, and medians of predictions are crosses.
    """
    net, _, gradual, noisy, _ = (within(dataset, name) for name in PARTS)
    ways, largest = dataset.sampling.values, dataset["size"].values[-1]
    here = net.sel(learning_rate=dataset.attrs["rate"])
    gaps = [gap_share(dataset, n, largest).median("point") for n in dataset.label_noise.values]

    def lines(values):
        return {f"{way}": values.sel(sampling=way) for way in ways}

    # For each panel: title, dimension, label, and the lines with their predictions.
    panels = [
        (
            "Full-batch cost",
            "batch_size",
            "samples per step",
            lines(here.whole),
            {f"{way}": here[f"limit_{way}"].sel(sampling=way) for way in ways},
        ),
        (
            "Batch sharpness along the path",
            "batch_size",
            "samples per step",
            lines(here.path_batch),
            {},
        ),
        (
            f"Several copies per pass, {largest} per step",
            "copies",
            "copies of each sample",
            {"shuffled": gradual.whole.sel(size=largest)},
            {},
        ),
        (
            f"Noise in the targets, {largest} per step",
            "label_noise",
            "standard deviation of the noise",
            lines(noisy.whole.sel(size=largest)),
            {"replacement": xr.concat([predicted(gap) for gap in gaps], "label_noise")},
        ),
    ]
    with style():
        figure = Figure(figsize=(13, 4.6 * 2))
        grid = figure.subplots(2, 2)
        for axes, (title, dim, label, measured, theory) in zip(grid.flat, panels, strict=True):
            place = np.arange(dataset.sizes[dim])
            for (name, values), color in zip(measured.items(), CYCLE, strict=False):
                starts = middle_of_orders(values).transpose(dim, "seed").values
                axes.plot(place, median_of_starts(starts), color=color, label=name)
                axes.plot(place, starts, ".", color=color, alpha=0.4)
                if name in theory:
                    middle = median_of_starts(theory[name].transpose(dim, "seed").values)
                    axes.plot(place, middle, "x", color=color, markersize=9, label="predicted")
            axes.axhline(1, color=GREY, linestyle="--")
            axes.set_xticks(place, [f"{value:g}" for value in dataset[dim].values])
            axes.set(xlabel=label, title=title)
            axes.legend()
        for axes in grid[:, 0]:
            axes.set_ylabel("sharpness, in units of 2 / rate")
    return {"sampling": figure}


def median_of_starts(values: np.ndarray) -> np.ndarray:
    """Return the median over starts; NaN if no start has a value."""
    middle = np.full(len(values), np.nan)
    measured = np.isfinite(values).any(axis=1)
    middle[measured] = np.nanmedian(values[measured], axis=1)
    return middle


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
