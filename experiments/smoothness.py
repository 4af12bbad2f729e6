"""Why must a neuron not be binary: what does descent see when a sigmoid becomes a step?

    s(z / temperature)  ->  1 if z > 0 else 0   as the temperature falls to 0

The digit network (784-16-16-10) is looked at and trained with all its sigmoids at one temperature.
At its start: the cost along one weight, the norm of the gradient over the training set and of
single images, and the share of images whose gradient is zero in float32 (their neurons are all
saturated to the last bit). Then it is trained at every temperature with many learning rates; the
best is chosen by the median training cost over seeds, never by test images.

Temperature is nothing but the unit of weights: C(w; T) = C(w / T; 1). Starting weights and learning
rate scaled by T and T^2 give the same descent, to the last bit where T is a power of two. So every
temperature above 0 can be learnt at, but a step has no unit, and no slope.

    python experiments/smoothness.py           (about 40 s)

Expected: 85 to 90 % of test digits right at temperatures 1 to 1/4, little more than guessing (10 %)
in the median from 1/16 down, whatever the learning rate; at temperature 0 gradients that are
exactly 0 and a cost that never moves.
"""

from dataclasses import dataclass
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import temperatures

import gdjax as gd
from gdjax.statistics import median

SHIFTS = np.linspace(-0.5, 1.5, 2001)  # added to one weight, for the cost along it


@dataclass(frozen=True)
class Config:
    """Which network, at which temperatures, trained how.

    Args:
        data: name of the data set.
        temperatures: at which it is trained, highest first; powers of two make scaled starts exact.
        learning_rates: all are tried at every temperature.
        scaled_rate: learning rate of the scaled starts, times temperature squared.
        seeds: starting points.
        epochs: passes over the training set.
        batch_size: images a step.
        looked_at: temperatures at which gradients are taken before training.
        images: single images whose gradients are taken.
        drawn: temperatures at which the cost along one weight is taken.
        along: images in the mean of that cost: few, so that single steps can be seen.
    """

    data: str = "mnist5k"
    temperatures: tuple[float, ...] = (*(2.0**-k for k in range(7)), 2.0**-8, 2.0**-10, 0.0)
    learning_rates: tuple[float, ...] = tuple(float(10 ** (k / 2)) for k in range(-8, 3))
    scaled_rate: float = 3.0
    seeds: int = 8
    epochs: int = 5
    batch_size: int = 32
    looked_at: tuple[float, ...] = (*(float(10 ** (-k / 4)) for k in range(-4, 21)), 0.0)
    images: int = 500
    drawn: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.0)
    along: int = 30


def look(problem, params, temperature, data, images):
    """Gradient norms of one network: over all its data, and of each of the first few images."""

    def norm(batch):
        gradient = jax.grad(problem.cost)(params, batch, temperature=temperature)
        return optax.tree.norm(gradient)

    single = jax.tree.map(lambda a: a[:images, None], data)
    return norm(data), jax.lax.map(norm, single, batch_size=50)


def along_one_weight(problem, params, temperature, data, shifts):
    """The cost as the first weight of the last layer is shifted."""
    *first, last = params

    def cost(shift):
        moved = last._replace(weights=last.weights.at[0, 0].add(shift))
        return problem.cost((*first, moved), data, temperature=temperature)

    return jax.lax.map(cost, shifts, batch_size=100)


def at_start(config: Config, problem) -> xr.Dataset:
    """What there is to see before anything is learnt."""
    keys = gd.streams(0, np.arange(config.seeds)).init
    params = jax.vmap(problem.init)(keys)
    data = jax.device_put(problem.data)

    @jax.jit
    def norms(params, temperatures, data):
        def over_seeds(temperature):
            return jax.lax.map(
                lambda one: look(problem, one, temperature, data, config.images), params
            )

        return jax.lax.map(over_seeds, temperatures)

    @jax.jit
    def lines(params, temperatures, data, shifts):
        return jax.lax.map(
            lambda t: along_one_weight(problem, params, t, data, shifts), temperatures
        )

    whole, single = norms(params, jnp.asarray(config.looked_at), data)
    few = jax.tree.map(lambda a: a[: config.along], data)
    first = jax.tree.map(lambda a: a[0], params)
    cost = lines(first, jnp.asarray(config.drawn), few, jnp.asarray(SHIFTS))
    return xr.Dataset(
        {
            "gradient_norm": (("looked_at", "seed"), np.asarray(whole)),
            "image_gradient_norm": (("looked_at", "seed", "image"), np.asarray(single)),
            "cost_along": (("drawn", "added"), np.asarray(cost)),
        },
        {
            "looked_at": list(config.looked_at),
            "drawn": list(config.drawn),
            "added": SHIFTS,
            "seed": np.arange(config.seeds),
        },
    )


def trained(config: Config, problem) -> xr.Dataset:
    """Networks trained at every temperature, from the usual starts and from scaled ones."""
    steps = gd.descent.steps_for(config.epochs, problem.samples, config.batch_size)
    train = partial(
        gd.sweep, problem, num_steps=steps, batch_size=config.batch_size, record_every=steps
    )
    seeds = range(config.seeds)
    usual = train(
        gd.axes(temperature=config.temperatures, learning_rate=config.learning_rates, seed=seeds)
    )
    t = np.array(config.temperatures)
    unit = np.where(t > 0, t, 1)  # a step is the same in any unit
    together = gd.zip_axes(
        temperature=t, init_scale=unit, learning_rate=config.scaled_rate * unit**2
    )
    scaled = train(gd.axes(temperature=together, seed=seeds))
    names = ["cost", "test_accuracy"]
    kept = scaled[names].reset_coords(drop=True)
    return xr.merge([usual[[*names, "outcome"]], kept.rename({n: f"scaled_{n}" for n in names})])


def run(config: Config) -> xr.Dataset:
    """Before training and after it."""
    problem = gd.problems.digits(config.data)
    classes = problem.network.widths[-1]
    both = xr.merge([at_start(config, problem), trained(config, problem)])
    return both.assign_attrs(chance=1 / classes)


def best(dataset):
    """Accuracy at each temperature's best learning rate by training cost, and that rate."""
    cost = common.medians(dataset.cost.isel(step=-1))
    choice = cost.argmin("learning_rate")
    accuracy = dataset.test_accuracy.isel(step=-1, learning_rate=choice)
    return accuracy.transpose("temperature", "seed"), dataset.learning_rate[choice]


def numbers(dataset: xr.Dataset) -> dict:
    """Where gradients are largest, where they are gone, and what was learnt."""
    accuracy, rate = best(dataset)
    scaled = dataset.scaled_test_accuracy.isel(step=-1).transpose("temperature", "seed")
    looked_at = dataset.looked_at.values
    whole = common.medians(dataset.gradient_norm).values
    typical = dataset.image_gradient_norm.median("image")
    image = common.medians(typical).values
    still = (dataset.image_gradient_norm == 0).mean("image")
    steps = dataset.sel(temperature=0)
    found = {
        "seeds": dataset.sizes["seed"],
        "image_gradient_norm_at_1": median(typical.sel(looked_at=1).values)[:3],
        "image_gradient_norm_most": median(typical[image.argmax()].values)[:3],
        "image_gradient_norm_most_at": float(looked_at[image.argmax()]),
        "image_gradient_zero_from": float(looked_at[image == 0].max()),
        "gradient_norm_most": float(whole.max()),
        "gradient_norm_most_at": float(looked_at[whole.argmax()]),
        "images_without_gradient": {
            f"at_{t:.2g}": median(still.sel(looked_at=t).values)[:3] for t in looked_at
        },
        "gradient_norm_of_steps": float(dataset.gradient_norm.sel(looked_at=0).max()),
        "cost_moved_by_steps": float(np.ptp(steps.cost.values, axis=-1).max()),
        "scaled_cost_spread": float(
            np.ptp(dataset.scaled_cost.isel(step=-1).values[dataset.temperature > 0], axis=0).max()
        ),
    }
    for index, temperature in enumerate(dataset.temperature.values):
        name = f"{temperature:g}"
        found[f"accuracy_at_{name}"] = median(accuracy.values[index])[:3]
        found[f"best_rate_at_{name}"] = float(rate.values[index])
        found[f"scaled_accuracy_at_{name}"] = median(scaled.values[index])[:3]
    return found


def plot(dataset: xr.Dataset) -> dict:
    """All of it in one picture."""
    accuracy, _ = best(dataset)
    image = dataset.image_gradient_norm
    return {
        "cooling": temperatures.cooling(
            dataset.added.values,
            {float(t): dataset.cost_along.sel(drawn=t).values for t in dataset.drawn.values},
            temperature=dataset.looked_at.values,
            whole=dataset.gradient_norm.values,
            image=image.median("image").values,
            still=(image == 0).mean("image").values,
            trained=dataset.temperature.values,
            usual=accuracy.values,
            scaled=dataset.scaled_test_accuracy.isel(step=-1).values,
            chance=dataset.attrs["chance"],
        )
    }


if __name__ == "__main__":
    common.main("smoothness", Config, run, plot, numbers)
