"""How well can the network of 13,002 numbers read, and what does each ingredient give?

    w <- w - r_t (grad C_B(w) + d_l w),   C the squared error, sum over outputs, mean over images

784 pixels, two layers of 16 sigmoids, 10 outputs, as ever; only the way it is trained changes. One
ingredient is added after the other, from the same starts and over the same order of batches, and
judged on training images that were held out, the last 10,000: an annealed rate, weight decay, more
of it for the pixels than behind them, distorted copies of the images, more passes. What did not
help is tried on top of the distorted copies in the same way. Then two recipes learn from all
training images, from starts that nothing was chosen with, and the test images are read, once.

    python experiments/accuracy.py                  (about 9 min of processor time)

The ladder takes half of it, what did not help a sixth, the test a third. Sweeps are kept in
`--store`: a run that was stopped goes on where it was.

Expected: 94.6 % of the test images for plain descent, 96.6 % (96.4 to 96.8) for the best recipe. Of
the gain on the held-out images decay gives a third, more passes over distorted copies another.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

import gdjax as gd
from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.plots import images as pixels
from gdjax.plots.style import BLUE, GREY, ORANGE, VERMILLION, style
from gdjax.problems import Distortion
from gdjax.problems.costs import targets_for

LEVEL = 0.95  # of intervals
WIDEST = 0.05  # gain that is drawn
LAYERS = ("pixels to 16", "16 to 16", "16 to 10")


@dataclass(frozen=True)
class Config:
    """What is compared, and over what.

    Args:
        data: data set.
        held_out: last training images, on which everything is chosen.
        epochs: passes over the images while ingredients are compared.
        seeds: starting points 0, 1, ... of the ladder.
        fewer_seeds: the first so many of them for what is tried on top of it.
        test_seeds: how many starting points, from 100 on, for the test images.
        sharpness_images: of the training set, for the sharpness of the trained networks.
        store: folder that keeps the sweeps.
    """

    data: str = "mnist"
    held_out: int = 10_000
    epochs: int = 12
    seeds: int = 12
    fewer_seeds: int = 4
    test_seeds: int = 12
    sharpness_images: int = 5000
    store: Path = Path("runs/accuracy")


class Variant(NamedTuple):
    """A way to train: a recipe, the rule that takes its rate, targets s and 1 - s."""

    recipe: Recipe
    rule: Callable[..., optax.GradientTransformation] = optax.sgd
    soft: float = 0.0


def ladder(epochs: int) -> dict[str, Variant]:
    """Each with one ingredient more than the one before."""
    best = RECIPES["best"]
    longer = Variant(best)
    distorted = dataclasses.replace(best, epochs=epochs)
    by_layer = dataclasses.replace(distorted, distortion=None)
    decayed = dataclasses.replace(by_layer, decay=5e-5, decay_behind=5e-5)
    annealed = Recipe(learning_rate=2.0, epochs=epochs, warmup_steps=best.warmup_steps)
    plain = dataclasses.replace(RECIPES["plain"], epochs=epochs)
    return {
        "plain": Variant(plain),
        "annealed": Variant(annealed),
        "decayed": Variant(decayed),
        "pixels decayed more": Variant(by_layer),
        "distorted copies": Variant(distorted),
        "longer": longer,
    }


def tried(epochs: int) -> dict[str, Variant]:
    """Each with one change to the distorted copies."""
    base = dataclasses.replace(RECIPES["best"], epochs=epochs)
    rate, steps = base.learning_rate, base.warmup_steps or 0
    return {
        "targets 0.05 and 0.95": Variant(base, soft=0.05),
        "momentum 0.9": Variant(dataclasses.replace(base, learning_rate=rate / 10), _heavy_ball),
        "Adam": Variant(
            dataclasses.replace(base, learning_rate=0.01, decay=0.0, decay_behind=0.0), optax.adam
        ),
        "batches of 128": Variant(
            dataclasses.replace(
                base, batch_size=128, learning_rate=3 * rate, warmup_steps=steps // 4
            )
        ),
        "twice the distortion": Variant(
            dataclasses.replace(base, distortion=Distortion(shift=1.0, turn=0.24))
        ),
    }


def _heavy_ball(learning_rate):
    return optax.sgd(learning_rate, momentum=0.9)


def soft(off: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The squared error against targets that are so far off 0 and 1."""
    return lambda outputs, labels: jnp.sum(
        (outputs - off - (1 - 2 * off) * targets_for(outputs, labels)) ** 2, axis=-1
    )


class Problems:
    """The digit network on part of a set; images are distorted once for all who ask for it."""

    def __init__(self, config: Config):
        self.set = gd.data.load(config.data)
        self.held_out = config.held_out
        self.made: dict[Any, gd.Problem] = {}

    def learning(self, variant: Variant) -> gd.Problem:
        """Learns from all but the held-out images, and is measured on those."""
        seen = len(self.set.train_labels) - self.held_out
        problem = self._of(variant, seen)
        rest = self.set.train_images[seen:], self.set.train_labels[seen:]
        function = problem.measures["test_accuracy"].function
        measure = gd.Measure(
            function, (rest[0].reshape(len(rest[0]), -1), rest[1]), long_name="validation accuracy"
        )
        return dataclasses.replace(problem, measures={"validation_accuracy": measure})

    def whole(self, variant: Variant) -> gd.Problem:
        """Learns from all training images and is measured on the test images."""
        return self._of(variant, len(self.set.train_labels))

    def _of(self, variant, samples):
        place = samples, variant.recipe.distortion
        if place not in self.made:
            # Copies of one part of the set are as much as is worth keeping at hand.
            self.made = {k: v for k, v in self.made.items() if k[0] == samples}
            self.made[place] = gd.problems.digits(
                self.set, samples=samples, distortion=variant.recipe.distortion
            )
        problem = self.made[place]
        if not variant.soft:
            return problem
        other = gd.problems.digits(self.set, cost=soft(variant.soft), samples=samples)
        return dataclasses.replace(other, data=problem.data)


def trained(problem: gd.Problem, variant: Variant, seeds: range, samples: int, **settings: Any):
    """A sweep over starting points, recorded at its start, half-way and at its end."""
    recipe = variant.recipe
    steps = gd.descent.steps_for(recipe.epochs, samples, recipe.batch_size)
    return gd.sweep(
        problem,
        gd.axes(seed=seeds),
        steps,
        optimizer=lambda: recipe.optimizer(steps, variant.rule),
        batch_size=recipe.batch_size,
        record_every=-(-steps // 2),
        **settings,
    )


def compared(
    problems: Problems, variants: Mapping[str, Variant], seeds: range, store: Path
) -> xr.Dataset:
    """Validation accuracy at the end of every run, [variant, seed]."""
    samples = len(problems.set.train_labels) - problems.held_out
    found = []
    for name, variant in variants.items():
        place = store / name.replace(" ", "_")
        runs = trained(problems.learning(variant), variant, seeds, samples, store=place)
        found.append(runs[["validation_accuracy", "cost"]].isel(step=-1, drop=True))
    return xr.concat(found, xr.Variable("variant", list(variants))).load()


def tested(problems: Problems, variants: Mapping[str, Variant], config: Config) -> xr.Dataset:
    """Two recipes, learned from all training images, read the test images; and what they are."""
    samples = len(problems.set.train_labels)
    seeds = range(100, 100 + config.test_seeds)
    images, labels = problems.set.test_images, problems.set.test_labels
    images = images.reshape(len(images), -1)
    few = gd.problems.digits(problems.set, samples=config.sharpness_images)
    measure = gd.geometry.sharpness(few)
    sharpness, begin = measure.function, measure.init
    assert begin is not None  # this measure always carries a memory

    def sharp(params):
        return sharpness(params, few.data, begin(params, few.data))[0]

    found = []
    for name, variant in variants.items():
        place = Path(config.store) / "test" / name
        runs = trained(problems.whole(variant), variant, seeds, samples, store=place)
        like = jax.eval_shape(few.init, jax.random.key(0))
        params = [gd.sweeps.params_of(runs, like, {"seed": number}) for number in range(len(seeds))]
        stacked = jax.tree.map(lambda *a: jnp.stack(a), *params)
        slopes, answers = jax.jit(jax.vmap(_slopes, (0, None)))(stacked, images)
        norms = [jnp.sqrt(jnp.sum(layer.weights**2, axis=(1, 2))) for layer in stacked]
        found.append(
            xr.Dataset(
                {
                    "answer": (("seed", "test"), np.asarray(answers, np.uint8)),
                    "slope": (("seed", "layer", "bin"), np.asarray(slopes)),
                    "norm": (("seed", "layer"), np.stack(norms, axis=1)),
                    "sharpness": ("seed", np.array([float(jax.jit(sharp)(p)) for p in params])),
                    "weight": (("neuron", "pixel"), np.asarray(params[0][0].weights)),
                    "test_accuracy": ("seed", runs.test_accuracy.isel(step=-1).values),
                    "cost": ("seed", runs.cost.isel(step=-1).values),
                }
            )
        )
    joined = xr.concat(found, xr.Variable("recipe", list(variants)))
    return joined.assign(label=("test", labels)).assign_coords(test_seed=("seed", list(seeds)))


BINS = 20


def _slopes(params, images):
    """How saturated sigmoids are, as a histogram a layer of 4 s (1 - s); and the answers."""
    a = images.astype(float) / 255
    found = []
    for layer in params:
        a = jax.nn.sigmoid(a @ layer.weights.T + layer.bias[None, :])
        found.append(jnp.histogram(4 * a * (1 - a), BINS, (0, 1))[0] / a.size)
    return jnp.stack(found), jnp.argmax(a, axis=1)


def run(config: Config) -> xr.Dataset:
    """The ladder, what was tried on top of it, and the test."""
    problems, store = Problems(config), Path(config.store)
    rungs, more = ladder(config.epochs), tried(config.epochs)
    up = compared(problems, rungs, range(config.seeds), store / "ladder")
    test = tested(problems, {"plain": rungs["plain"], "best": Variant(RECIPES["best"])}, config)
    on_top = compared(problems, more, range(config.fewer_seeds), store / "tried")
    return xr.merge(
        [
            up.rename({name: f"ladder_{name}" for name in (*up.data_vars, "variant", "seed")}),
            on_top.rename({name: f"tried_{name}" for name in (*up.data_vars, "variant", "seed")}),
            test.rename(cost="test_run_cost"),
        ],
        combine_attrs="drop",
    ).assign_attrs(data=config.data, data_hash=problems.set.hash)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of runs and the half width of its interval (Student's t)."""
    n = len(values)
    half = (
        stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    )
    return float(values.mean()), float(half)


def gains(dataset: xr.Dataset) -> dict[str, tuple[float, float]]:
    """What each ingredient gives, start by start, and each other try, in accuracy."""
    up = dataset.ladder_validation_accuracy.values
    names = dataset.ladder_variant.values.tolist()
    found = {name: interval(up[i] - up[i - 1]) for i, name in enumerate(names) if i}
    base = up[names.index("distorted copies")]
    for name, values in zip(
        dataset.tried_variant.values.tolist(), dataset.tried_validation_accuracy.values, strict=True
    ):
        found[name] = interval(values - base[: len(values)])
    return found


def numbers(dataset: xr.Dataset) -> dict:
    """Accuracies, gains with their intervals, and what the networks of the test are like."""
    found: dict = {"data_hash": dataset.attrs["data_hash"]}
    for name, values in zip(
        dataset.ladder_variant.values, dataset.ladder_validation_accuracy.values, strict=True
    ):
        mean, half = interval(values)
        found |= {f"validation_{name}": mean, f"validation_{name}_interval": half}
    for name, (mean, half) in gains(dataset).items():
        found |= {f"gain_{name}": mean, f"gain_{name}_interval": half}
    for recipe in dataset.recipe.values:
        one = dataset.sel(recipe=recipe)
        accuracy = one.test_accuracy.values
        mean, half = interval(accuracy)
        found |= {
            f"test_{recipe}": mean,
            f"test_{recipe}_interval": half,
            f"test_{recipe}_deviation": float(accuracy.std(ddof=1)),
            f"test_{recipe}_lowest": float(accuracy.min()),
            f"test_{recipe}_highest": float(accuracy.max()),
            f"sharpness_{recipe}": interval(one.sharpness.values),
            f"norms_{recipe}": [round(float(x), 3) for x in one.norm.mean("seed")],
            f"saturated_{recipe}": [round(float(x), 4) for x in _saturated(one)],
        }
    difference = np.subtract(*dataset.test_accuracy.sel(recipe=["best", "plain"]).values)
    found["test_gain"], found["test_gain_interval"] = interval(difference)
    wrong = errors(dataset)
    found["errors_left"] = float(wrong[1].sum() / wrong[0].sum())
    plain, best = wrong.sum(axis=1)
    left = {int(k): best[k] / plain[k] for k in np.flatnonzero(plain)}
    for what, choose in (("most", max), ("least", min)):
        digit = choose(left, key=left.__getitem__)
        found[f"errors_left_{what}"] = f"{digit}: {left[digit]:.2f}"
    return found


def _saturated(one):
    """Share of sigmoids with a slope below a tenth of the steepest, a layer."""
    return one.slope.isel(bin=slice(0, BINS // 10)).sum("bin").mean("seed").values


def errors(dataset: xr.Dataset) -> np.ndarray:
    """Wrong test images, [recipe, seed, class]."""
    wrong = (dataset.answer != dataset.label).values
    labels = dataset.label.values
    return np.stack([wrong[..., labels == k].sum(axis=-1) for k in np.unique(labels)], axis=-1)


def plot(dataset: xr.Dataset) -> dict:
    """The ladder, first layers side by side, and what is wrong and saturated."""
    return {
        "ladder": _ladder(dataset),
        "weights": _weights(dataset),
        "differences": _differences(dataset),
    }


def _ladder(dataset):
    names = dataset.ladder_variant.values.tolist()
    values, gained = dataset.ladder_validation_accuracy.values, gains(dataset)
    with style():
        figure = Figure(figsize=(13, 7))
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        for seed in range(values.shape[1]):
            left.plot(values[:, seed], np.arange(len(names)), color=GREY, linewidth=0.6, zorder=1)
        rows = np.repeat(np.arange(len(names)), values.shape[1])
        left.scatter(values.ravel(), rows, s=14, color=BLUE, zorder=2)
        left.scatter(values.mean(axis=1), np.arange(len(names)), s=90, color=VERMILLION, marker="|")
        left.set_yticks(range(len(names)), [("+ " if i else "") + n for i, n in enumerate(names)])
        left.invert_yaxis()
        left.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        left.set_xlabel("held-out images read right")
        left.set_title(f"{values.shape[1]} starts, step by step")
        for row, (name, (mean, half)) in enumerate(gained.items()):
            ingredient = name in names
            colour = BLUE if ingredient else ORANGE
            if abs(mean) > WIDEST:  # a number says it, a bar would hide the rest
                right.text(0.03, row, f"{100 * mean:.0f} ± {100 * half:.0f}", color=colour)
                continue
            right.errorbar(100 * mean, row, xerr=100 * half, fmt="o", color=colour, capsize=4)
        right.axvline(0, color=GREY, linewidth=1)
        right.axhline(len(names) - 1.5, color=GREY, linestyle=":", linewidth=1)
        right.set_yticks(range(len(gained)), list(gained))
        right.invert_yaxis()
        right.set_xlabel(f"gain in percentage points, with {LEVEL:.0%} intervals")
        right.set_title("Added in turn; below, only tried")
    return figure


def _weights(dataset):
    images = pixels.shaped(dataset.weight.values.reshape(-1, dataset.sizes["pixel"]))
    if images is None:
        images = dataset.weight.values.reshape(-1, 1, dataset.sizes["pixel"])
    mean = dataset.test_accuracy.isel(seed=0).values
    titles = [
        f"{name} ({share:.1%} right)"
        for name, share in zip(dataset.recipe.values, mean, strict=True)
    ]
    return pixels.signed(
        images,
        title=f"First layers from one start: {titles[0]} above, {titles[1]} below",
        label="weight of a pixel: red where light excites the neuron, blue where it inhibits",
    )


def _differences(dataset):
    wrong, tests = errors(dataset), np.bincount(dataset.label.values)
    with style():
        figure = Figure(figsize=(11, 8))
        grid = figure.subplots(2, 3)
        top = grid[0, 0].get_gridspec()
        for axes in grid[0]:
            axes.remove()
        bars = figure.add_subplot(top[0, :])
        for number, (name, colour) in enumerate(
            zip(dataset.recipe.values, (ORANGE, BLUE), strict=True)
        ):
            share = wrong[number] / tests[None, :]
            bars.bar(
                np.arange(len(tests)) + 0.4 * number - 0.2,
                share.mean(axis=0),
                0.38,
                yerr=share.std(axis=0, ddof=1),
                color=colour,
                label=name,
                error_kw={"ecolor": GREY},
            )
        bars.set_xticks(range(len(tests)))
        bars.yaxis.set_major_formatter(PercentFormatter(1))
        bars.set_xlabel("digit")
        bars.set_ylabel("read wrong, test images")
        left = wrong[1].sum() / wrong[0].sum()
        bars.set_title(f"The best recipe leaves {left:.0%} of the plain one's errors")
        bars.legend()
        middle = (np.arange(BINS) + 0.5) / BINS
        for layer, axes in enumerate(grid[1]):
            for number, (name, colour) in enumerate(
                zip(dataset.recipe.values, (ORANGE, BLUE), strict=True)
            ):
                share = dataset.slope.values[number, :, layer].mean(axis=0)
                axes.step(middle, share, where="mid", color=colour, label=name)
            axes.set_yscale("log")
            axes.set_title(LAYERS[layer])
            axes.set_xlabel("slope, of 1 at most")
        grid[1, 0].set_ylabel("share of neurons and images")
    return figure


if __name__ == "__main__":
    common.main("accuracy", Config, run, plot, numbers)
