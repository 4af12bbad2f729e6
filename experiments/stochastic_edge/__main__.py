"""How sharp does a cost become under mini-batch descent, and does the sampling of batches matter?

    batch sharpness = E[g^T H_B g] / E|g|^2 over mini-batches B,   compared with 2 / eta at the end

    python -m experiments.stochastic_edge           (about 10 min on two cores)

Expected: eta / 2 times the batch sharpness settles at 1 within 10 % for every batch size at the
larger rates, and the sharpness of the full-batch cost is lower for smaller batches. With shuffled
batches of half of the samples, the latter exceeds 2 / eta; with replacement, it does not. This is
refuted by intervals outside 0.9 to 1.1 at the majority of the rates at which the sharpness has
become stationary, or by intervals of the two ways of sampling that overlap.
"""

import xarray as xr

from experiments.shared import command

from . import figures as plots
from . import model as methods
from .config import Config
from .oscillation import constrained_path
from .summary import gap_share, middle_of_orders, numbers, predicted, within


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
