"""How long after memorizing its training set does a network generalize?

    f(a, b) = V (U [e_a, e_b])^2,   C = mean over training pairs of |f(a, b) - e_(a + b mod p)|^2

    python -m experiments.grokking           (about a minute on two cores)

Expected: the training pairs are learned after about 30 steps for any decay, when the accuracy on
the test pairs is not above chance level (Power et al. 2022, arXiv 2201.02177; this network: Gromov
2023, arXiv 2301.02679). With decay the test pairs are learned in every run, with a median delay of
1,500 steps at decay 0.3 and of 80 steps at decay 3: the delay falls faster than the inverse of the
decay, with an exponent of -1.25 over the whole range; between neighboring decays the exponent
varies. Without decay the test pairs are never learned. This is refuted by runs without decay in
which they are learned, or by an interval of the exponent that contains -1.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

import gdjax as gd
from experiments.shared import command
from experiments.shared.statistics import first_at
from gdjax import statistics
from gdjax.plots.style import BLACK, CYCLE, GREY
from gdjax.plots.sweeps import quantiles


@dataclass(frozen=True)
class Config:
    """Task, network and weight decays."""

    modulus: int = 13  # modulus p
    part: float = 0.7  # share of the p^2 pairs that are in the training set
    width: int = 48  # number of hidden neurons
    learning_rate: float = 0.01  # learning rate of AdamW
    decays: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)  # weight decays, ascending, some positive
    seeds: int = 24  # number of starting points, each with a different set of training pairs
    steps: int = 5000  # number of steps of each run
    record_every: int = 10  # number of steps from one record to the next
    known: float = 0.95  # share of correctly predicted pairs from which a set counts as learned


def addition(config: Config) -> gd.Problem:
    """Return the problem of addition modulo p.

    The data contain all pairs. The keyword `pairs` of the cost selects the set of training pairs,
    which are marked by one flag per pair and set.
    """
    p = config.modulus
    first, second = (numbers.ravel() for numbers in np.mgrid[:p, :p])
    rows = np.eye(p, dtype=np.float32)
    inputs, sums = np.concatenate([rows[first], rows[second]], axis=1), (first + second) % p
    trained = round(config.part * p**2)
    order = [np.random.default_rng(seed).permutation(p**2) for seed in range(config.seeds)]
    data = inputs, sums, np.stack(order, axis=1) < trained

    def init(key):
        key_in, key_out = jax.random.split(key)
        return {
            "in": jax.random.normal(key_in, (2 * p, config.width)) / np.sqrt(2 * p),
            "out": jax.random.normal(key_out, (config.width, p)) / np.sqrt(config.width),
        }

    def predict(params, inputs):
        return (inputs @ params["in"]) ** 2 @ params["out"]

    def chosen(flags, pairs):
        return jnp.take(flags, jnp.asarray(pairs, int), axis=1)

    def cost(params, batch, *, pairs=0):
        inputs, sums, marks = batch
        error = predict(params, inputs) - jax.nn.one_hot(sums, p)
        inside = jnp.where(chosen(marks, pairs), jnp.sum(error**2, axis=1), 0)
        return jnp.mean(inside) * (p**2 / trained)

    def right(problem, params, marked):
        inputs, sums, _ = problem.data
        correct = jnp.argmax(predict(params, inputs), axis=1) == sums
        return jnp.sum(correct & marked) / jnp.sum(marked)

    def train_accuracy(problem, params, *, settings):
        return right(problem, params, chosen(problem.data[2], settings.get("pairs", 0)))

    def test_accuracy(problem, params, *, settings):
        return right(problem, params, ~chosen(problem.data[2], settings.get("pairs", 0)))

    return gd.Problem(
        init=init,
        cost=cost,
        data=data,
        metrics={
            "train_accuracy": gd.Metric(train_accuracy, long_name="training accuracy"),
            "test_accuracy": gd.Metric(test_accuracy, long_name="accuracy on the test pairs"),
        },
    )


def run(config: Config) -> xr.Dataset:
    """Return costs and accuracies of all runs, by weight decay, seed and step."""
    seeds = list(range(config.seeds))

    def adamw(*, weight_decay):
        return optax.adamw(config.learning_rate, weight_decay=weight_decay)

    grid = gd.axes(weight_decay=list(config.decays), run=gd.zip_axes(seed=seeds, pairs=seeds))
    options: dict = {"make_optimizer": adamw, "record_every": config.record_every}
    runs = gd.sweep(addition(config), grid, config.steps, **options)
    return (
        runs[["cost", "train_accuracy", "test_accuracy"]]
        .swap_dims(run="seed")
        .drop_vars(["run", "pairs"])
        .assign_attrs(known=config.known)
    )


def delays(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of steps until memorization, and delays, [decays, seeds].

    A delay is the number of steps from memorization to generalization; it is +inf if the network
    does not generalize.
    """
    known = dataset.attrs["known"]
    memorized, generalized = (
        first_at(dataset.step.values, dataset[name].values >= known)
        for name in ("train_accuracy", "test_accuracy")
    )
    return memorized, np.where(np.isfinite(generalized), generalized - memorized, np.inf)


def exponents(decay: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Return the slope of log delay against log decay, for each seed.

    A slope corresponds to the power law delay ~ decay^slope. Seeds with a delay of 0 or +inf at
    some positive decay are excluded.
    """
    decay, delay = decay[decay > 0], delay[decay > 0]
    all_known = np.all(np.isfinite(delay) & (delay > 0), axis=0)
    if len(decay) < 2 or not all_known.any():
        return np.empty(0)
    return np.polyfit(np.log(decay), np.log(delay[:, all_known]), 1)[0]


def numbers(dataset: xr.Dataset) -> dict:
    """Return delays with intervals and numbers of infinite delays by decay, and the exponent."""
    decay, seeds = dataset.weight_decay.values, dataset.sizes["seed"]
    memorized, delay = delays(dataset)
    test = dataset.test_accuracy.values
    at = np.searchsorted(dataset.step.values, np.where(np.isfinite(memorized), memorized, 0))
    test_accuracy = np.take_along_axis(test, at[..., None], axis=-1)[..., 0]
    by_decay: dict = {}
    for index, (value, late) in enumerate(zip(decay, delay, strict=True)):
        never = int(np.sum(np.isinf(late)))
        by_decay[f"{value:g}"] = entries = {
            "learnt": statistics.median(memorized[index])[:3],
            "test_accuracy_then": statistics.median(test_accuracy[index])[:3],
            "delay": statistics.median(late)[:3],
            "delay_from_to": [late.min(), late.max()],
            "never": never,
            "share_never": statistics.share(never, seeds)[:3],
            "test_accuracy_most": test[index].max(),
        }
        if value and seeds > 1:
            entries["first_half_delay"] = statistics.median(late[: seeds // 2])[:3]
            entries["second_half_delay"] = statistics.median(late[seeds // 2 :])[:3]
    summary = {"steps": int(dataset.step[-1]), "seeds": seeds, "weight_decay": by_decay}
    slopes = exponents(decay, delay)
    return summary | ({"exponent": statistics.mean(slopes)[:3]} if len(slopes) > 1 else {})


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies along the descent, and the delay against the weight decay."""
    step, decay, known = dataset.step.values, dataset.weight_decay.values, dataset.attrs["known"]
    train, test = dataset.train_accuracy.values, dataset.test_accuracy.values
    figure = Figure(figsize=(12.5, 5.5))
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    after = step > 0  # a logarithmic axis has no 0
    for number, value in enumerate(decay):
        color = CYCLE[number % len(CYCLE)]
        low, half, high = quantiles(test[number].T[after])
        left.fill_between(step[after], low, high, color=color, alpha=0.2)
        left.plot(step[after], half, color=color, label=f"{value:g}")
    memorized = quantiles(train.reshape(-1, len(step)).T[after])[1]
    left.plot(step[after], memorized, "--", color=BLACK, label="training pairs,\nall decays")
    left.axhline(known, color=GREY, linewidth=1, linestyle=":")
    left.set_xscale("log")
    left.xaxis.set_major_formatter("{x:g}")
    left.xaxis.set_minor_formatter(NullFormatter())
    left.set_ylim(0, 1.02)
    left.yaxis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlabel="step", ylabel="share of correct pairs")
    left.set_title(f"Pairs not trained on: median and quartiles of {test.shape[1]} seeds")
    left.legend(title="weight decay", loc="upper left", bbox_to_anchor=(0, 0.6), title_fontsize=12)
    _against_decay(right, decay, delays(dataset)[1], last=float(step[-1]))
    return {"delays": figure}


def _against_decay(axes, decay, delay, last):
    """Draw every seed's delay, with infinite delays in a separate row at the top."""
    never = 1.6 * last
    shown = np.flatnonzero(decay > 0)
    for index in shown:
        finite = np.isfinite(delay[index])
        spread = decay[index] * np.geomspace(0.85, 1.18, delay.shape[1])
        look: dict = {"color": CYCLE[index % len(CYCLE)], "alpha": 0.7}
        axes.plot(spread[finite], delay[index][finite], ".", **look)
        axes.plot(spread[~finite], np.full(np.sum(~finite), never), "^", **look)
    x, y = decay[shown], quantiles(delay[shown], (0.5,))[0]
    axes.plot(x, y, "_", color=BLACK, markersize=28, label="median")
    middle = len(shown) // 2
    axes.plot(x, y[middle] * x[middle] / x, ":", color=GREY, label="1 / decay")
    if np.isinf(delay[shown]).any():
        axes.axhline(1.25 * last, color=GREY, linewidth=1)
        axes.text(
            0.98, never, "never", transform=axes.get_yaxis_transform(), ha="right", va="center"
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="weight decay", ylabel="delay in steps")
    title = "Delay until the test pairs are predicted correctly"
    for without in delay[decay == 0]:
        title += f"\nwithout decay: never in {np.sum(np.isinf(without))} of {len(without)} runs"
    axes.set_title(title)
    axes.legend(loc="lower left")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
