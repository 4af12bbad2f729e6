"""Is Adam better than descent with momentum, if the learning rate of both is tuned?

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   Adam: w <- w - rate m / sqrt(v)

    python -m experiments.adam_and_momentum       (about three minutes of processor time)

Expected: Adam reaches a lower training cost than momentum with a small transformer of characters
(Zhang et al. 2020, arXiv 1912.03194; Kunstner et al. 2023, arXiv 2304.13960), and a difference on
the digits is smaller. This is refuted if Adam is not shown to be better with the transformer, or if
the interval of the ratio of costs on the digits lies below that with the transformer.
"""

from dataclasses import dataclass
from functools import partial
from pydoc_data.topics import topics

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command

PROBLEMS = {"digits": "digits", "characters": "transformer of characters"}
OPTIMIZERS = {"adam": optax.adam, "momentum": partial(optax.sgd, momentum=0.9)}


@dataclass(frozen=True)
class Config:
    """Networks, learning rates and seeds."""

    adam_rates: tuple[float, float] = (0.0003, 0.3)  # smallest and largest rate of Adam
    momentum_rates: tuple[float, float] = (0.01, 10.0)  # the same of descent with momentum
    rates: int = 7  # number of rates, geometrically spaced
    seeds: int = 16  # number of starts; half of them choose a rate for the other half
    steps: int = 300  # number of steps of each run
    batch_size: int = 16  # number of images or pieces of text in a step
    text: int = 16_000  # number of characters of the text
    context: int = 24  # number of characters from which each next one is predicted
    width: int = 24  # width of the transformer
    layers: int = 2  # number of layers of the transformer


def characters(config: Config) -> gd.Problem:
    """Return the problem of predicting each next character of the manual of Python.

    Layers have one head of attention and a hidden layer of twice the width, both with normalized
    inputs, and are added to what they read.
    """
    text = "".join(topics[name] for name in sorted(topics))[: config.text]
    letters, codes = np.unique([*text], return_inverse=True)
    pieces = len(codes) // (config.context + 1)
    data = codes[: pieces * (config.context + 1)].reshape(pieces, -1).astype(np.int32)
    d, mask = config.width, np.tril(np.ones((config.context, config.context), bool))
    shapes = {"query": (d, d), "key": (d, d), "value": (d, d), "up": (d, 2 * d), "down": (2 * d, d)}

    def init(key):
        key_in, key_out, key_place, *keys = jax.random.split(key, 3 + config.layers)
        layers = [
            {
                name: jax.random.normal(k, shape) / np.sqrt(shape[0])
                for k, (name, shape) in zip(jax.random.split(one, 5), shapes.items(), strict=True)
            }
            for one in keys
        ]
        return {
            "characters": jax.random.normal(key_in, (len(letters), d)),
            "places": jax.random.normal(key_place, (config.context, d)) / 4,
            "layers": layers,
            "output": jax.random.normal(key_out, (d, len(letters))) / np.sqrt(d),
        }

    def cost(params, batch):
        x = params["characters"][batch[:, :-1]] + params["places"][None]
        for w in params["layers"]:
            h = jax.nn.standardize(x)
            scores = (h @ w["query"]) @ (h @ w["key"]).swapaxes(1, 2) / np.sqrt(d)
            weights = jax.nn.softmax(jnp.where(mask[None], scores, -jnp.inf))
            x = x + weights @ (h @ w["value"])
            x = x + jax.nn.gelu(jax.nn.standardize(x) @ w["up"]) @ w["down"]
        outputs = jax.nn.standardize(x) @ params["output"]
        loss = optax.softmax_cross_entropy_with_integer_labels(outputs, batch[:, 1:])
        return jnp.mean(loss)

    return gd.Problem(init, cost, data=data)


def run(config: Config) -> xr.Dataset:
    """Return final training costs by problem, optimizer, rate and seed; +inf after divergence."""
    digits = gd.problems.digits(widths=(16,), activation="tanh", loss="cross_entropy")
    starts = gd.zip_axes(seed=range(config.seeds), data_seed=range(config.seeds))
    grids = {
        name: np.geomspace(*getattr(config, f"{name}_rates"), config.rates) for name in OPTIMIZERS
    }
    costs = []
    for problem in (digits, characters(config)):
        for name, factory in OPTIMIZERS.items():
            runs = gd.sweep(
                problem,
                gd.axes(learning_rate=grids[name], start=starts),
                config.steps,
                make_optimizer=factory,
                batch_size=config.batch_size,
                record_every=config.steps,
                metrics={},
            )
            costs.append(runs.cost.isel(step=-1).values)
    dims = ("problem", "optimizer", "rate", "seed")
    shape = (len(PROBLEMS), len(OPTIMIZERS), config.rates, config.seeds)
    return xr.Dataset(
        {"cost": (dims, np.reshape(costs, shape))},
        {
            "problem": [*PROBLEMS],
            "optimizer": [*OPTIMIZERS],
            "seed": range(config.seeds),
            "learning_rate": (("optimizer", "rate"), np.array([*grids.values()])),
        },
    )


def compared(dataset: xr.Dataset, problem: str) -> gd.search.Comparison:
    """Return the comparison of both optimizers on one problem, each at its own learning rate."""
    table = dataset.sel(problem=problem).to_dataframe().reset_index()
    return gd.compare(table, "optimizer", tune="learning_rate")


def numbers(dataset: xr.Dataset) -> dict:
    """Return verdicts, ratios of costs, and the chosen rates of each problem."""
    summary: dict = {}
    for problem in PROBLEMS:
        result = compared(dataset, problem)
        pair = result.pairs.iloc[0]
        settings = {
            name: {
                "cost": [row["median"], row["low"], row["high"]],
                "rates": sorted({row["learning_rate_1"], row["learning_rate_2"]}),
                "diverged": int(row["diverged"]),
            }
            for name, row in result.settings.to_dict("index").items()
        }
        summary[problem] = {
            "verdict": pair["verdict"],
            "ratio": [pair["ratio"], pair["ratio_low"], pair["ratio_high"]],
            "won": int(pair["won"]),
            "methods": result.methods,
            "optimizer": settings,
        }
    ends = dataset.learning_rate.isel(rate=[0, -1]).values
    chosen = [r for s in summary.values() for o in s["optimizer"].values() for r in o["rates"]]
    return {"problem": summary, "at_end_of_grid": int(np.isin(chosen, ends).sum())}


def plot(dataset: xr.Dataset) -> dict[str, Figure]:
    """Draw paired differences of the costs of both optimizers on each problem."""
    return {
        name: gd.plot(compared(dataset, name), title=f"Final training cost: {title}")
        for name, title in PROBLEMS.items()
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
