"""How sharp does a cost become under mini-batch descent, and does the sampling of batches matter?

    batch sharpness = E[g^T H_B g] / E|g|^2 over mini-batches B,   compared with 2 / eta at the end

    python -m experiments.stochastic_edge           (about 10 min on two cores)

Expected: eta / 2 times the batch sharpness settles at 1 within 10 % for every batch size at the
larger rates, and the sharpness of the full-batch cost is lower for smaller batches. With shuffled
batches of half of the samples, the latter exceeds 2 / eta; with replacement, it does not. This is
refuted by intervals outside 0.9 to 1.1 at the majority of the rates at which the sharpness has
become stationary, or by intervals of the two ways of sampling that overlap.
"""

import numpy as np
import xarray as xr

from experiments.shared import command
from gdjax.statistics import median

from . import figures as plots
from . import model as methods
from .config import Config
from .oscillation import constrained_path

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
    net, image = within(dataset, "net"), within(dataset, "image")
    gradual, noisy, flow = (within(dataset, name) for name in ("gradual", "noisy", "flow"))
    summary: dict = {"rates": dataset.learning_rate.values.tolist()}
    for sampling in dataset.sampling.values:
        for size in dataset.batch_size.values:
            part = net.sel(sampling=sampling, batch_size=size)
            label = f"{sampling}_{size}"
            for name in ("batch", "ratios", "whole"):
                summary[f"{name}_{label}"] = [triple(row) for row in _by(part[name])]
            summary[f"error_{label}"] = float(np.nanmedian(part.error))
            summary[f"diverged_{label}"] = int(part.diverged.sum())
            summary[f"cost_{label}"] = [float(np.median(row)) for row in _by(part.cost)]
            for name in AVERAGES:
                summary[f"{name}_{label}"] = triple(part[name])
            bound = part.stationary * part.along_hessian**2 / part.distance_hessian
            summary[f"bound_{label}"] = triple(bound)
            summary[f"bound_holds_{label}"] = bool((bound <= part.path_batch * 1.001).all())
            sign = -1 if sampling == "shuffled" else 1
            summary[f"scalar_{label}"] = triple(predicted(sign * part.curvature_variance))
        for size in dataset.image_size.values:
            part = image.sel(sampling=sampling, image_size=size)
            for name in ("batch", "whole"):
                summary[f"image_{name}_{sampling}_{size}"] = triple(part[name])
            summary[f"image_cost_{sampling}_{size}"] = float(np.median(part.cost))
            summary[f"image_diverged_{sampling}_{size}"] = int(part.diverged.sum())
        for size in dataset["size"].values:
            part = noisy.sel(sampling=sampling, size=size)
            label = f"{sampling}_{size}"
            summary[f"noisy_{label}"] = [
                triple(part.whole.sel(label_noise=n)) for n in part.label_noise
            ]
            summary[f"noisy_batch_{label}"] = [
                triple(part.batch.sel(label_noise=n)) for n in part.label_noise
            ]
            summary[f"noisy_diverged_{label}"] = int(part.diverged.sum())
    _add_differences(summary, net.sel(learning_rate=dataset.attrs["rate"]), "batch_size", "")
    _add_differences(summary, image, "image_size", "image_")
    for size in dataset["size"].values:
        part = gradual.sel(size=size)
        summary[f"gradual_{size}"] = [triple(part.whole.sel(copies=n)) for n in part.copies]
        summary[f"gradual_diverged_{size}"] = int(part.diverged.sum())
        shares = [gap_share(dataset, n, size).median("point") for n in noisy.label_noise.values]
        summary[f"gap_{size}"] = [triple(predicted(share)) for share in shares]
        summary[f"gap_share_{size}"] = [triple(share) for share in shares]
    rate = dataset.attrs["rate"]
    summary["flow_sharpness"] = triple((flow.sharpness * rate / 2).median("point"))
    summary["flow_second"] = triple((flow.second * rate / 2).median("point"))
    summary["flow_alpha_positive"] = float((flow.alpha > 0).mean())
    summary["flow_completed"] = int(flow.completed.sum())
    return summary


def _by(values):
    """Return the values at each learning rate."""
    return [values.sel(learning_rate=rate) for rate in values.learning_rate]


def _add_differences(summary, part, dim, prefix):
    """Add the medians over starts of the difference between both ways of sampling.

    The difference is the sharpness in shuffled passes minus that with replacement.
    """
    whole = middle_of_orders(part.whole)
    for size in part[dim].values:
        both = whole.sel({dim: size})
        difference = both.sel(sampling="shuffled") - both.sel(sampling="replacement")
        summary[f"{prefix}difference_{size}"] = triple(difference)


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
    """Draw the effect of sampling, of copies and of noise, and the batch sharpness."""
    net, noisy, gradual = (within(dataset, name) for name in ("net", "noisy", "gradual"))
    ways, largest = dataset.sampling.values, dataset["size"].values[-1]
    here = net.sel(learning_rate=dataset.attrs["rate"])
    sizes = [f"{n}" for n in dataset.batch_size.values]
    gaps = [gap_share(dataset, n, largest).median("point") for n in dataset.label_noise.values]

    def lines(values, dim):
        middle = middle_of_orders(values).transpose("sampling", dim, ...)
        return {f"{way}": middle.sel(sampling=way).values for way in ways}

    panels = [
        plots.Panel(
            "Full-batch cost",
            "samples per step",
            sizes,
            lines(here.whole, "batch_size"),
            {f"{way}": here[f"limit_{way}"].sel(sampling=way).values for way in ways},
        ),
        plots.Panel(
            "Batch sharpness along the path",
            "samples per step",
            sizes,
            lines(here.path_batch, "batch_size"),
        ),
        plots.Panel(
            f"Several copies per pass, {largest} per step",
            "copies of each sample",
            [f"{n}" for n in dataset.copies.values],
            {"shuffled": middle_of_orders(gradual.whole.sel(size=largest)).values},
        ),
        plots.Panel(
            f"Noise in the targets, {largest} per step",
            "standard deviation of the noise",
            [f"{n:g}" for n in dataset.label_noise.values],
            lines(noisy.whole.sel(size=largest), "label_noise"),
            {"replacement": xr.concat([predicted(g) for g in gaps], "noise").values},
        ),
    ]
    return {"sampling": plots.samplings(panels)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
