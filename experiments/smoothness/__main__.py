"""Why can a neuron not be binary: what happens to gradients as a sigmoid becomes a step?

    s(z / temperature)  ->  1 if z > 0 else 0   as the temperature falls to 0

    python -m experiments.smoothness           (about 40 s)

Expected: a test accuracy of 85 to 90 % at temperatures 1 to 1/4, and a median test accuracy little
above chance (10 %) at temperatures of 1/16 and below, at any learning rate; at temperature 0,
gradients that are exactly 0 and a constant cost.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.ticker import NullLocator, PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import medians
from gdjax.base.statistics import median
from gdjax.plots.style import BLACK, BLUE, CYCLE, GREEN, GREY, ORANGE, VERMILLION, Figure
from gdjax.plots.sweeps import quantiles

SHIFTS = np.linspace(-0.5, 1.5, 2001)  # shifts of one weight at which the cost is evaluated
ALONG = 30  # number of images of the cost along one weight; few, to show single steps


@dataclass(frozen=True)
class Config:
    """Temperatures of the network, and settings of its training."""

    data: str = "mnist5k"  # name of the data set
    # temperatures of training, highest first; powers of 2 make scaled starts exact
    temperatures: tuple[float, ...] = (*(2.0**-k for k in range(7)), 2.0**-8, 2.0**-10, 0.0)
    # learning rates to try at every temperature
    learning_rates: tuple[float, ...] = tuple(float(10 ** (k / 2)) for k in range(-8, 3))
    seeds: int = 8  # number of starting points
    epochs: int = 5  # number of passes over the training set
    batch_size: int = 32  # number of images per step
    # temperatures at which gradients are computed before training
    looked_at: tuple[float, ...] = (*(float(10 ** (-k / 4)) for k in range(-4, 21)), 0.0)
    images: int = 500  # number of single images whose gradients are computed
    drawn: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.0)  # temperatures of the drawn cost curves


def at_start(config: Config, problem) -> xr.Dataset:
    """Return gradient norms, and costs along one weight, before training."""
    params = jax.vmap(problem.init)(gd.run_keys(0, np.arange(config.seeds)).init)

    @jax.jit
    def norms(params, temperatures, data):
        """Return norms over all data and for single images, by temperature and seed."""
        single = jax.tree.map(lambda a: a[: config.images, None], data)

        def of_seed(temperature, params):
            def norm(batch):
                gradient = jax.grad(problem.cost)(params, batch, temperature=temperature)
                return optax.tree.norm(gradient)

            return norm(data), jax.lax.map(norm, single, batch_size=50)

        return jax.lax.map(lambda t: jax.lax.map(partial(of_seed, t), params), temperatures)

    @jax.jit
    def lines(params, temperatures, data):
        """Return costs as functions of a shift of the last layer's first weight."""
        *first, last = params

        def cost(temperature, shift):
            shifted = last._replace(weights=last.weights.at[0, 0].add(shift))
            return problem.cost((*first, shifted), data, temperature=temperature)

        def along(temperature):
            return jax.lax.map(partial(cost, temperature), jnp.asarray(SHIFTS), batch_size=100)

        return jax.lax.map(along, temperatures)

    full_batch, single = norms(params, jnp.asarray(config.looked_at), jax.device_put(problem.data))
    subset = jax.tree.map(lambda a: jnp.asarray(a[:ALONG]), problem.data)
    cost = lines(jax.tree.map(lambda a: a[0], params), jnp.asarray(config.drawn), subset)
    columns = {
        "gradient_norm": (("looked_at", "seed"), np.asarray(full_batch)),
        "image_gradient_norm": (("looked_at", "seed", "image"), np.asarray(single)),
        "cost_along": (("drawn", "added"), np.asarray(cost)),
    }
    at = {"looked_at": list(config.looked_at), "drawn": list(config.drawn), "added": SHIFTS}
    return xr.Dataset(columns, at | {"seed": np.arange(config.seeds)})


def trained(config: Config, problem) -> xr.Dataset:
    """Return runs at every temperature, from unscaled and from scaled starts."""
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    train = partial(
        gd.sweep, problem, num_steps=steps, batch_size=config.batch_size, record_every=steps
    )
    seeds = range(config.seeds)
    usual = train(
        gd.axes(temperature=config.temperatures, learning_rate=config.learning_rates, seed=seeds)
    )
    t = np.array(config.temperatures)
    unit = np.where(t > 0, t, 1)  # a step function is scale-invariant
    zipped = gd.zip_axes(temperature=t, init_scale=unit, learning_rate=3.0 * unit**2)
    scaled = train(gd.axes(temperature=zipped, seed=seeds))
    names = ["cost", "test_accuracy"]
    records = scaled[names].reset_coords(drop=True)
    return xr.merge([usual[[*names, "outcome"]], records.rename({n: f"scaled_{n}" for n in names})])


def run(config: Config) -> xr.Dataset:
    """Return the measurements before and after training."""
    problem = gd.problems.digits(config.data)
    both = xr.merge([at_start(config, problem), trained(config, problem)])
    return both.assign_attrs(chance=1 / problem.network.widths[-1])


def best(dataset):
    """Return test accuracies by temperature at the rate with the lowest median training cost."""
    choice = medians(dataset.cost.isel(step=-1)).argmin("learning_rate")
    accuracy = dataset.test_accuracy.isel(step=-1, learning_rate=choice)
    return accuracy.transpose("temperature", "seed")


def numbers(dataset: xr.Dataset) -> dict:
    """Return statistics of gradients before training, and accuracies, by temperature."""
    typical = dataset.image_gradient_norm.median("image")
    still = (dataset.image_gradient_norm == 0).mean("image")
    norm, image = medians(dataset.gradient_norm), medians(typical)
    steepest = image.idxmax("looked_at")
    accuracies = {
        "accuracy": best(dataset),
        "scaled_accuracy": dataset.scaled_test_accuracy.isel(step=-1),
    }
    warm_cost = dataset.scaled_cost.isel(step=-1).values[dataset.temperature > 0]
    return {
        "seeds": dataset.sizes["seed"],
        "image_gradient_norm_at_1": median(typical.sel(looked_at=1).values)[:3],
        "image_gradient_norm_most": median(typical.sel(looked_at=steepest).values)[:3],
        "image_gradient_norm_most_at": float(steepest),
        "image_gradient_zero_from": float(image.looked_at[image == 0].max()),
        "gradient_norm_most": float(norm.max()),
        "gradient_norm_most_at": float(norm.idxmax("looked_at")),
        "looked_at": {
            f"{t:.2g}": {"images_without_gradient": median(still.sel(looked_at=t).values)[:3]}
            for t in dataset.looked_at.values
        },
        "gradient_norm_of_steps": float(dataset.gradient_norm.sel(looked_at=0).max()),
        "cost_moved_by_steps": float(np.ptp(dataset.cost.sel(temperature=0).values, axis=-1).max()),
        "scaled_cost_spread": float(np.ptp(warm_cost, axis=0).max()),
        "temperature": {
            f"{t:g}": {
                name: median(a.sel(temperature=t).values)[:3] for name, a in accuracies.items()
            }
            for t in dataset.temperature.values
        },
    }


def plot(dataset: xr.Dataset) -> dict:
    """Draw the cost along one weight, gradient norms and accuracies, by temperature.

    The accuracy is that from unscaled starts at the best rates. The temperature decreases from left
    to right. Its scale and that of gradient norms are logarithmic down to a small value and linear
    below it, so that 0 can be shown.
    """
    temperature, trained = dataset.looked_at.values, dataset.temperature.values
    image, chance = dataset.image_gradient_norm, dataset.attrs["chance"]
    still = (image == 0).mean("image").values
    accuracy, scaled = best(dataset), dataset.scaled_test_accuracy.isel(step=-1).values
    figure = Figure(figsize=(11, 9))
    panels = figure.subplot_mosaic([["stairs", "learnt"], ["gradient", "still"]])
    draw_stairs(panels["stairs"], dataset.cost_along)
    axes = panels["gradient"]
    draw_band(axes, temperature, dataset.gradient_norm.values, BLUE, "whole training set")
    of_images = image.median("image").values
    draw_band(axes, temperature, of_images, ORANGE, "median over single images")
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.5)
    axes.set_ylim(0, None)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(ylabel="norm of the gradient", title="Gradient before training")
    axes.legend(loc="upper left")
    axes = panels["still"]
    draw_band(axes, temperature, still, VERMILLION, f"median of {still.shape[1]} seeds")
    axes.fill_between([], [], color=VERMILLION, alpha=0.2, label="range over seeds")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))
    axes.set(ylim=(0, 1.03), ylabel="images with gradient 0")
    axes.set_title("Images whose gradient is exactly 0")
    axes = panels["learnt"]
    draw_band(axes, trained, accuracy.values, BLUE, "unscaled starting weights")
    draw_band(axes, trained, scaled, GREEN, "starting weights scaled by T", line="--o")
    axes.axhline(chance, color=GREY, linestyle=":")
    axes.text(0.02, chance + 0.01, "guessing", transform=axes.get_yaxis_transform())
    axes.set(ylim=(0, 1), ylabel="test accuracy", title="After training")
    axes.legend(loc="center right", bbox_to_anchor=(0.9, 0.5))
    for name, shown in (("gradient", temperature), ("still", temperature), ("learnt", trained)):
        set_falling_axis(panels[name], shown)
        if name != "gradient":
            panels[name].yaxis.set_major_formatter(PercentFormatter(1.0))
    return {"cooling": figure}


def draw_stairs(axes, lines):
    """Draw the cost along one weight, at each temperature."""
    shift = lines.added.values
    for temperature, cost, cycled in zip(lines.drawn.values, lines.values, CYCLE, strict=False):
        color, width = (BLACK, 1.5) if temperature == 0 else (cycled, 2.2)
        axes.plot(shift, cost, color=color, linewidth=width)
        axes.text(shift[-1], cost[-1], f"  T = {temperature:g}", color=color, va="center")
    axes.set_xlim(shift[0], shift[-1] + 0.3 * np.ptp(shift))
    axes.set_xticks(np.linspace(shift[0], shift[-1], 5))
    axes.set(xlabel="shift of one weight of the last layer", ylabel="cost")
    axes.set_title("Cost along one weight at temperature T")


def draw_band(axes, x, values, color, label, line="-o"):
    """Draw the median over seeds as a line, and the range over seeds as a band."""
    axes.fill_between(x, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2)
    axes.plot(x, quantiles(values, (0.5,))[0], line, color=color, markersize=5, label=label)


def set_falling_axis(axes, temperature):
    """Set up a horizontal axis of temperatures that decrease to the right down to 0."""
    smallest = np.min(temperature[temperature > 0])
    axes.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    axes.set_xlim(1.2 * np.max(temperature), -0.1 * smallest)
    low, high = np.log10(smallest), np.log10(np.max(temperature))
    ticks = 10.0 ** np.arange(np.ceil(low - 1e-6), high + 1e-6, 1 if high - low < 4.5 else 2)
    axes.set_xticks([0, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("temperature of the sigmoids")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
