"""How well can 13,002 parameters read digits, and what does each change of the recipe give?

    w <- w - r_t (grad C_B(w) + d_l w),   C the squared error, sum over outputs, mean over images

784 pixels, two layers of 16 sigmoids, 10 outputs, as ever; only the way it is trained changes. One
ingredient is added after the other, from the same starts, and judged on training images that were
held out, the last 10,000: smaller batches, an annealed rate, weight decay, more of it for the
pixels than behind them, distorted copies of the images, more passes. Whatever else is said to help
is tried on top of the distorted copies in the same way. Then two recipes learn from all training
images, from starts that nothing was chosen with, and the test images are read, once.

    python experiments/accuracy.py                  (about 12 min of processor time)

Sweeps are kept in `--store`: a run that was stopped goes on where it was.

Expected: 94.6 % of the test images for plain descent, 96.6 % (96.4 to 96.8) for the best recipe. Of
the gain on the held-out images decay gives a third, more passes over distorted copies another;
batches of 16, 32 and 64 end alike where the rate goes with them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import reading
from scipy import stats
from variants.learning import Problems, trained
from variants.training import Variant, ladder, tried

import gdjax as gd
from gdjax import landscape
from gdjax.descent import RECIPES
from gdjax.sweeps.dataset import from_named

LEVEL = 0.95  # of intervals
AVERAGED = "plain"  # rung whose rate is held: there averages of weights should help most
LAYERS = ("pixels to 16", "16 to 16", "16 to 10")


@dataclass(frozen=True)
class Config:
    """What is compared, and over what.

    Args:
        data: data set.
        held_out: last training images, on which everything is chosen.
        epochs: passes over the images while ingredients are compared.
        seeds: starting points 0, 1, ... of the ladder.
        fewer_seeds: the first so many of them for what takes long: 100 epochs, fresh copies.
        test_seeds: how many starting points, from 100 on, for the test images.
        some_images: of the training set, for the sharpness of the trained networks and the plane.
        points: along each side of the plane.
        bundled: small data set, for what the quick recipe gives.
        store: folder that keeps the sweeps.
    """

    data: str = "mnist"
    held_out: int = 10_000
    epochs: int = 12
    seeds: int = 12
    fewer_seeds: int = 4
    test_seeds: int = 12
    some_images: int = 5000
    points: int = 61
    bundled: str = "mnist5k"
    store: Path = Path("runs/accuracy")


def compared(
    problems: Problems, variants: Mapping[str, Variant], config: Config, store: Path
) -> xr.Dataset:
    """Validation accuracy at the end of every run, and of its averaged weights, [variant, seed].

    The average is over what was kept in the last quarter of the steps. NaN where nothing was tried.
    """
    samples = len(problems.set.train_labels) - problems.held_out
    parts = []
    for name, variant in variants.items():
        place = store / name.replace(" ", "_")
        problem = problems.learning(variant)
        seeds = range(config.fewer_seeds if variant.long else config.seeds)
        runs = trained(problem, variant, seeds, samples, place)
        like = jax.eval_shape(problem.init, jax.random.key(0))
        step = runs.snapshot_step.values
        late = np.flatnonzero(step > 0.75 * step[-1])
        mean = jax.tree.map(
            lambda a, late=late: a[:, late].mean(axis=1), from_named("snapshots", like, runs)
        )
        metric = problem.metrics["validation_accuracy"]
        averaged = jax.jit(jax.vmap(metric.function, (0, None)))(mean, metric.data)
        parts.append(
            runs[["validation_accuracy"]]
            .isel(step=-1, drop=True)
            .assign(averaged_accuracy=("seed", np.asarray(averaged)))
            .load()
        )
    return xr.concat(parts, xr.Variable("variant", list(variants)), join="outer").assign_coords(
        against=("variant", [variant.against for variant in variants.values()])
    )


def price(problems: Problems, variant: Variant, steps: int = 2000) -> dict[str, float]:
    """What copies cost: seconds to draw all of them, and a fresh one's step over another's."""
    began = time.process_time()
    problem = problems.learning(variant)
    drawn = time.process_time() - began
    streams = gd.streams(0, seed=0)
    start = problem.init(streams.init)

    def seconds(problem):
        run = gd.descend(
            problem,
            variant.recipe.optimizer(steps),
            start,
            steps,
            key=streams,
            batch_size=variant.recipe.batch_size,
            record_every=steps,
            record_samples=100,
        )
        return run.seconds["run"]

    pair = problem, problems.learning(variant._replace(fresh=True))
    # The faster of three, taken in turn: others may be computing beside.
    once, anew = np.min([[seconds(one) for one in pair] for _ in range(3)], axis=0)
    return {"copies_seconds": drawn, "fresh_step": float(anew / once)}


def tested(problems: Problems, variants: Mapping[str, Variant], config: Config) -> xr.Dataset:
    """Two recipes, learned from all training images, read the test images; and what they are."""
    samples = len(problems.set.train_labels)
    seeds = range(100, 100 + config.test_seeds)
    images, labels = problems.set.test_images, problems.set.test_labels
    images = images.reshape(len(images), -1)
    few = gd.problems.digits(problems.set, samples=config.some_images)
    like = jax.eval_shape(few.init, jax.random.key(0))
    metric = gd.curvature.sharpness(few)
    sharpness, begin = metric.function, metric.init
    assert begin is not None  # this metric always carries a memory

    @jax.jit
    def sharp(params):
        return sharpness(params, few.data, begin(params, few.data))[0]

    parts, ways = [], {}
    for name, variant in variants.items():
        place = Path(config.store) / "test" / name
        runs = trained(problems.whole(variant), variant, seeds, samples, place)
        params = from_named("params", like, runs)
        ways[name] = from_named("snapshots", like, runs.isel(seed=0))
        slopes, answers = jax.jit(jax.vmap(_slopes, (0, None)))(params, images)
        norms = [jnp.sqrt(jnp.sum(layer.weights**2, axis=(1, 2))) for layer in params]
        sharpest = [
            float(sharp(jax.tree.map(lambda a, i=i: a[i], params))) for i in range(len(seeds))
        ]
        parts.append(
            xr.Dataset(
                {
                    "answer": (("seed", "test"), np.asarray(answers, np.uint8)),
                    "slope": (("seed", "layer", "bin"), np.asarray(slopes)),
                    "norm": (("seed", "layer"), np.stack(norms, axis=1)),
                    "sharpness": ("seed", np.array(sharpest)),
                    "weight": (("neuron", "pixel"), np.asarray(params[0].weights[0])),
                    "test_accuracy": ("seed", runs.test_accuracy.isel(step=-1).values),
                    "cost": ("seed", runs.cost.isel(step=-1).values),
                }
            )
        )
    joined = xr.concat(parts, xr.Variable("recipe", list(variants)))
    return xr.merge(
        [
            joined.assign(label=("test", labels)).assign_coords(test_seed=("seed", list(seeds))),
            on_plane(few, ways, config.points),
        ]
    )


def read_after_few(config: Config) -> xr.Dataset:
    """Test accuracy of the plain and the quick recipe on the small data set, [short, seed]."""
    problems = Problems(config.bundled, config.held_out)
    seeds = range(100, 100 + config.test_seeds)
    accuracy = {}
    for name in ("plain", "quick"):
        variant = Variant(RECIPES[name])
        place = Path(config.store) / "bundled" / name
        samples = len(problems.set.train_labels)
        runs = trained(problems.whole(variant), variant, seeds, samples, place)
        accuracy[name] = runs.test_accuracy.isel(step=-1, drop=True).values
    return xr.Dataset(
        {"bundled_accuracy": (("short", "seed"), np.stack(list(accuracy.values())))},
        {"short": list(accuracy)},
    )


def on_plane(problem: gd.Problem, ways: Mapping[str, Any], points: int) -> xr.Dataset:
    """The cost on the plane through one start and two ends, and both ways seen on it."""
    start = jax.tree.map(lambda a: a[0], next(iter(ways.values())))
    ends = {
        f"towards {name}": jax.tree.map(lambda a: a[-1] - a[0], way) for name, way in ways.items()
    }
    directions = landscape.orthogonalize(ends)
    seen = {
        name: landscape.descent_on_slice(problem, start, directions, way)
        for name, way in ways.items()
    }
    sides = []
    for path in ("path_a", "path_b"):
        at = np.concatenate([way[path].values for way in seen.values()])
        margin = 0.25 * np.ptp(at)
        sides.append(np.linspace(at.min() - margin, at.max() + margin, points))
    ground = landscape.plane(problem, start, directions, *sides)
    paths = xr.concat(seen.values(), xr.Variable("recipe", list(ways)), join="outer")
    return xr.merge([paths, ground.rename(cost="plane_cost")]).assign_attrs({})


BINS = 20


def _slopes(params, images):
    """How saturated sigmoids are, as a histogram a layer of 4 s (1 - s); and the answers."""
    a = images.astype(float) / 255
    shares = []
    for layer in params:
        a = jax.nn.sigmoid(a @ layer.weights.T + layer.bias[None, :])
        shares.append(jnp.histogram(4 * a * (1 - a), BINS, (0, 1))[0] / a.size)
    return jnp.stack(shares), jnp.argmax(a, axis=1)


def run(config: Config) -> xr.Dataset:
    """The ladder, what was tried on top of it, and the test."""
    problems, store = Problems(config.data, config.held_out), Path(config.store)
    rungs, more = ladder(config.epochs), tried(config.epochs)
    up = compared(problems, rungs, config, store / "ladder")
    test = tested(problems, {"plain": rungs["plain"], "best": rungs["longer"]}, config)
    prices = price(problems, rungs["distorted copies"])
    on_top = compared(problems, more, config, store / "tried")
    return xr.merge(
        [
            up.rename({name: f"ladder_{name}" for name in (*up.variables,)}),
            on_top.rename({name: f"tried_{name}" for name in (*on_top.variables,)}),
            test.rename(cost="test_run_cost"),
            read_after_few(config),
        ],
        combine_attrs="drop_conflicts",  # axes of the plane keep their lengths
    ).assign_attrs(data=config.data, data_hash=problems.set.hash, **prices)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean of runs and the half width of its interval (Student's t)."""
    n = len(values)
    half = (
        stats.t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    )
    return float(values.mean()), float(half)


def gains(dataset: xr.Dataset) -> dict[str, tuple[float, float]]:
    """What each rung and each other try gave, start by start, in accuracy."""
    rungs = _by_name(dataset, "ladder", "validation_accuracy")
    averaged = _by_name(dataset, "ladder", "averaged_accuracy")
    names = list(rungs)
    gained = {name: interval(rungs[name] - rungs[before]) for before, name in pairwise(names)}
    against = dataset.tried_against.values.tolist()
    for (name, values), base in zip(
        _by_name(dataset, "tried", "validation_accuracy").items(), against, strict=True
    ):
        gained[name] = interval(values - rungs[base][: len(values)])
    for rung in dict.fromkeys([AVERAGED, *against]):
        if rung in rungs:
            gained[f"weights averaged, {rung}"] = interval(averaged[rung] - rungs[rung])
    return gained


def _by_name(dataset, part, metric):
    """Accuracies by variant, of the starts it was tried from."""
    values = dataset[f"{part}_{metric}"].values
    names = dataset[f"{part}_variant"].values.tolist()
    return {name: row[np.isfinite(row)] for name, row in zip(names, values, strict=True)}


def numbers(dataset: xr.Dataset) -> dict:
    """Accuracies, gains with their intervals, and what the networks of the test are like."""
    summary: dict = {"data_hash": dataset.attrs["data_hash"]}
    summary |= {name: dataset.attrs[name] for name in ("copies_seconds", "fresh_step")}
    for name, values in _by_name(dataset, "ladder", "validation_accuracy").items():
        mean, half = interval(values)
        summary |= {f"validation_{name}": mean, f"validation_{name}_interval": half}
    for name, (mean, half) in gains(dataset).items():
        summary |= {f"gain_{name}": mean, f"gain_{name}_interval": half}
    for name, values in _by_name(dataset, "tried", "validation_accuracy").items():
        summary[f"seeds_{name}"] = len(values)
        summary[f"lowest_{name}"] = float(values.min())
    for recipe in dataset.recipe.values:
        one = dataset.sel(recipe=recipe)
        accuracy = one.test_accuracy.values
        mean, half = interval(accuracy)
        summary |= {
            f"test_{recipe}": mean,
            f"test_{recipe}_interval": half,
            f"test_{recipe}_deviation": float(accuracy.std(ddof=1)),
            f"test_{recipe}_lowest": float(accuracy.min()),
            f"test_{recipe}_highest": float(accuracy.max()),
            f"sharpness_{recipe}": interval(one.sharpness.values),
            f"norms_{recipe}": [round(float(x), 3) for x in one.norm.mean("seed")],
            f"saturated_{recipe}": [round(float(x), 4) for x in _saturated(one)],
            f"off_plane_{recipe}": float(one.path_off.max()),
            f"distance_{recipe}": _distance(one),
        }
    difference = np.subtract(*dataset.test_accuracy.sel(recipe=["best", "plain"]).values)
    summary["test_gain"], summary["test_gain_interval"] = interval(difference)
    for recipe in dataset.short.values:
        mean, half = interval(dataset.bundled_accuracy.sel(short=recipe).values)
        summary |= {f"bundled_{recipe}": mean, f"bundled_{recipe}_interval": half}
    difference = np.subtract(*dataset.bundled_accuracy.sel(short=["quick", "plain"]).values)
    summary["bundled_gain"], summary["bundled_gain_interval"] = interval(difference)
    wrong = errors(dataset)
    summary["errors_left"] = float(wrong[1].sum() / wrong[0].sum())
    plain, best = wrong.sum(axis=1)
    left = {int(k): best[k] / plain[k] for k in np.flatnonzero(plain)}
    for what, choose in (("most", max), ("least", min)):
        digit = choose(left, key=left.__getitem__)
        summary[f"errors_left_{what}"] = f"{digit}: {left[digit]:.2f}"
    return summary


def _saturated(one):
    """Share of sigmoids with a slope below a tenth of the steepest, a layer."""
    return one.slope.isel(bin=slice(0, BINS // 10)).sum("bin").mean("seed").values


def _distance(one):
    """From the start to the end of the way that is drawn."""
    end = one.dropna("snapshot_step", subset=["path_off"]).isel(snapshot_step=-1)
    return float(np.hypot(end.path_a * one.a.attrs["length"], end.path_b * one.b.attrs["length"]))


def errors(dataset: xr.Dataset) -> np.ndarray:
    """Wrong test images, [recipe, seed, class]."""
    wrong = (dataset.answer != dataset.label).values
    labels = dataset.label.values
    return np.stack([wrong[..., labels == k].sum(axis=-1) for k in np.unique(labels)], axis=-1)


def plot(dataset: xr.Dataset) -> dict:
    """The ladder, first layers side by side, what is wrong and saturated, and the two ways."""
    recipes = dataset.recipe.values.tolist()
    one = {name: dataset.sel(recipe=name) for name in recipes}
    wrong, tests = errors(dataset), np.bincount(dataset.label.values)
    accuracy = {name: float(part.test_accuracy[0]) for name, part in one.items()}
    return {
        "ladder": reading.ladder(
            _by_name(dataset, "ladder", "validation_accuracy"), gains(dataset), LEVEL
        ),
        "weights": reading.first_layers(
            {name: part.weight.values for name, part in one.items()}, accuracy
        ),
        "differences": reading.differences(
            {name: wrong[i] / tests for i, name in enumerate(recipes)},
            {name: part.slope.mean("seed").values for name, part in one.items()},
            LAYERS,
            left=wrong[1].sum() / wrong[0].sum(),
        ),
        "ways": reading.ways(
            dataset[["plane_cost"]].rename(plane_cost="cost"),
            {name: part.dropna("snapshot_step", subset=["path_off"]) for name, part in one.items()},
            accuracy,
        ),
    }


if __name__ == "__main__":
    common.main("accuracy", Config, run, plot, numbers)
