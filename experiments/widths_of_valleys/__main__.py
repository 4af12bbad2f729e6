"""Are wide valleys found more often than narrow ones, and do their networks classify better?

    log V = log V_n + log |det A| + log mean r^n,   coefficient = b E[C(w) - C(w*)]
    r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)),   z the cost of the minimum

    python -m experiments.widths_of_valleys           (about 5 min of processor time)

Expected: the number of starts increases with the volume (a mean rank correlation with an interval
above 0), since the probability that a start lies in a basin is proportional to its volume; the
accuracy increases with the width (published for large networks, and disputed). This is refuted by
intervals that contain 0 or lie below it. The volume is the one with cost below C(w*) + level; its
estimate increases with the information about the basin that the coordinates A use: none, the sizes
of the weights, the diagonal of the Hessian, the Hessian. This is refuted by an interval of a paired
difference that contains 0 or lies below it.

References: Davison and Hinkley 1997, *Bootstrap Methods and their Application*, 3.8 (resampling at
two levels); Hesterberg 2015, *What teachers should know about the bootstrap*, The American
Statistician 69, 371 (intervals of few sets).
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from scipy import stats

import gdjax as gd
from experiments.shared import command
from experiments.shared.comparisons import p_values
from experiments.shared.runs import ends_of
from experiments.shared.statistics import partial_correlation, with_ends
from gdjax.base.errors import InputError
from gdjax.base.statistics import Interval, holm
from gdjax.landscape import (
    Whitening,
    basin_volume,
    finite_temperature_coefficient,
    hessian_whitening,
)
from gdjax.minima import count_minima
from gdjax.plots.style import Figure

Values = Float[np.ndarray, "*batch n"]
# Variable and label of each measure of width, and variable of each quantity.
WIDTHS = {
    "volume": ("volume_log_volume", "log volume, nats"),
    "coefficient": ("chains_coefficient", "learning coefficient at one temperature"),
}
VARIABLES = {name: variable for name, (variable, _) in WIDTHS.items()} | {
    "starts": "count",
    "accuracy": "test_accuracy",
    "cost": "minimum_cost",
}
# Variables of each rank correlation; of three, the last one is held fixed.
PAIRS: list[tuple[str, ...]] = [
    *((a, b) for a in WIDTHS for b in ("starts", "accuracy", "cost")),
    *(("cost", b) for b in ("starts", "accuracy")),
    *((a, b, "cost") for a in WIDTHS for b in ("starts", "accuracy")),
]
COORDINATES = ("unscaled", "layers", "diagonal", "hessian")  # in the order of their information
MIN_MINIMA = 5  # smallest number of minima in a set
MINIMA_PER_CALL = 8  # number of minima measured per call of the compiled program
INVERSE_TEMPERATURE = 10_000.0  # inverse temperature of the Markov chains
LOCALIZATION = 100.0  # precision of the prior that keeps the chains near their minimum


@dataclass(frozen=True)
class Config:
    """Network, sets of images, and measures of width."""

    data: str = "mnist5k"  # name of the data set
    sets: int = 8  # number of disjoint sets of training images; sets without some digit are skipped
    images: int = 50  # number of training images in each set
    hidden: int = 3  # number of neurons in the hidden layer
    decay: float = 3e-3  # weight decay, which does not apply to biases
    seeds: int = 32  # number of starting points for each set
    steps: int = 4000  # number of steps of each descent
    level: float = 0.002  # rise of the cost at the boundary of a basin
    directions: int = 200  # number of directions in which the boundary is searched
    num_samples: int = 200  # number of samples of each chain
    resamples: int = 2000  # number of bootstrap resamples


def complete_sets(config: Config) -> list[int]:
    """Return the indices of the first `config.sets` sets of images with every digit.

    If a set does not contain some digit, its cost has no minimum: weight decay does not apply to
    the bias of that digit's output, and the cost decreases as this bias goes to minus infinity.
    """
    data = gd.data.load(config.data)
    labels = data.train_labels
    count = len(labels) // config.images
    complete = [
        index
        for index, block in enumerate(labels[: count * config.images].reshape(count, -1))
        if len(np.unique(block)) == data.classes
    ]
    if len(complete) < config.sets:
        raise InputError(
            f"sets = {config.sets}: {len(complete)} disjoint sets of {config.images} images of "
            f"{config.data} contain every digit; use at most as many sets, or more images per set"
        )
    return complete[: config.sets]


def problem_of(config: Config, index: int) -> gd.Problem:
    """Return the problem of one set of images."""
    settings = {"samples": config.images, "widths": (config.hidden,), "decay": config.decay}
    return gd.problems.few_digits(config.data, first=index * config.images, **settings)


def minima_of_set(config: Config, index: int, first: gd.Problem) -> xr.Dataset:
    """Return the minima for one set of images, with their widths and test accuracies."""
    problem = problem_of(config, index)
    # All sets share one compiled program, since these problems differ only in their data.
    same_static = replace(first, data=problem.data, metrics={})
    seeds, steps = gd.axes(seed=range(config.seeds)), config.steps
    rule = partial(optax.sgd, learning_rate=3.0, momentum=0.9)
    runs = gd.sweep(problem, seeds, steps, make_optimizer=rule, record_every=steps, metrics={})
    key_census, key_widths = jax.random.split(jax.random.key(index))
    census = count_minima(same_static, ends_of(problem, runs), key=key_census, max_steps=100)
    count = census.sizes["minimum"]
    if count < MIN_MINIMA:
        raise InputError(
            f"seeds = {config.seeds}: {count} minima found on set {index}, expected at least "
            f"{MIN_MINIMA}, to compare their widths; use more seeds"
        )
    minima = ends_of(problem, census)
    with jax.enable_x64(True):
        columns = measured(config, same_static, minima, key_widths)
    columns |= {name: census[name].values for name in ("count", "minimum_cost")}
    metric = problem.metrics["test_accuracy"]
    unseen = dataclasses.replace(problem, data=metric.data)
    accuracy = jax.jit(jax.vmap(metric.measure, in_axes=(None, 0)))(unseen, minima)
    columns["test_accuracy"] = np.asarray(accuracy)
    return xr.Dataset(
        {
            name: (("minimum", "coordinates")[: np.ndim(value)], value)
            for name, value in columns.items()
        },
        coords={"coordinates": list(COORDINATES), "set": ("minimum", np.full(count, index))},
        attrs={"parameters": problem.network.parameter_count},
    )


def measured(config: Config, problem: gd.Problem, minima, key) -> dict[str, np.ndarray]:
    """Return the volume and the learning coefficient of every minimum."""
    count = len(jax.tree.leaves(minima)[0])
    # The inputs of the last call are padded, so that all sets share one compiled program.
    rows = np.minimum(np.arange(-(-count // MINIMA_PER_CALL) * MINIMA_PER_CALL), count - 1)
    minima = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64)[rows], minima)
    inputs = minima, jax.random.split(key, len(rows))

    def part(start):
        inputs_part = jax.tree.map(lambda a: a[start : start + MINIMA_PER_CALL], inputs)
        return _measure(config, problem, *inputs_part)

    parts = [part(start) for start in range(0, len(rows), MINIMA_PER_CALL)]
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


@partial(jax.jit, static_argnums=0)
def _measure(config, problem, minima, keys):
    """Return the volumes and learning coefficients of a few minima."""

    def one(w, key):
        key_volume, key_chains = jax.random.split(key)
        # The damping limits the scale of the flattest directions: for the basin it is the curvature
        # of the weight decay, for the chains that of their prior.
        decay = 2 * config.decay
        basin = hessian_whitening(problem, w, damping=decay)
        floor = LOCALIZATION / INVERSE_TEMPERATURE
        prior = basin._replace(scale=(basin.scale**-2 - decay + floor) ** -0.5)
        search: dict = {"level": config.level, "directions": config.directions}
        volumes = {
            name: basin_volume(problem, w, key=key_volume, whitening=scale, **search)
            for name, scale in coordinates(problem, w, decay, basin).items()
        }
        chains = finite_temperature_coefficient(
            problem,
            w,
            key=key_chains,
            inverse_temperature=INVERSE_TEMPERATURE,
            localization=LOCALIZATION,
            whitening=prior,
            num_samples=config.num_samples,
            num_warmup=100,
            num_integration_steps=16,
        )
        return {
            "volume_log_volume": volumes["hessian"].log_volume,
            "volume_lower_bound": volumes["hessian"].lower_bound,
            "log_volume": jnp.stack([volumes[name].log_volume for name in COORDINATES]),
            "chains_coefficient": chains.coefficient,
            "chains_status": chains.status,
        }

    return jax.vmap(one)(minima, keys)


def coordinates(problem: gd.Problem, w, damping: float, basin: Whitening) -> dict[str, Whitening]:
    """Return the whitening of each kind of coordinates; `basin` is that by the full Hessian."""
    flat, _ = ravel_pytree(w)
    sizes = jax.tree.map(lambda a: jnp.full_like(a, jnp.sqrt(jnp.mean(a**2))), w)
    diagonal = jnp.diag(gd.curvature.HessianOperator(problem, w).as_matrix())
    return {
        "unscaled": Whitening(jnp.ones_like(flat)),
        "layers": Whitening(ravel_pytree(sizes)[0]),
        "diagonal": Whitening((jnp.abs(diagonal) + damping) ** -0.5),
        "hessian": basin,
    }


def run(config: Config) -> xr.Dataset:
    """Return the minima of all sets of images, with the width of each minimum."""
    if config.sets < 2:
        raise InputError(f"sets = {config.sets}, expected at least 2 for an interval over sets")
    indices = complete_sets(config)
    first = problem_of(config, indices[0])
    sets = [minima_of_set(config, index, first) for index in indices]
    return xr.concat(sets, "minimum", combine_attrs="drop").assign_attrs(
        resamples=config.resamples,
        parameters=sets[0].attrs["parameters"],
    )


def rank_correlation(x: Values, y: Values) -> Float[np.ndarray, "*batch"]:
    """Return Spearman's rank correlation along the last axis, NaN for constants."""
    x, y = (stats.rankdata(one, axis=-1) for one in (x, y))
    x, y = (one - one.mean(axis=-1, keepdims=True) for one in (x, y))
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return (x * y).sum(axis=-1) / np.where(scale > 0, scale, np.nan)


def partial_rank_correlation(x: Values, y: Values, z: Values) -> Float[np.ndarray, "*batch"]:
    """Return the partial rank correlation of x and y given z.

    The result is NaN if a variable is constant, or if the ranks of x or y equal those of z or are
    their reverse.
    """
    return partial_correlation(
        rank_correlation(x, y), rank_correlation(x, z), rank_correlation(y, z)
    )


def expanded_tail(count: int) -> float:
    """Return the bootstrap tail probability that replaces 2.5 % for `count` sets."""
    return float(stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.isf(0.025, count - 1)))


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, "*batch"]],
    sets: Sequence[Float[np.ndarray, "variables n"]],
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Return the mean of a statistic over sets, with a two-level bootstrap interval.

        tail = Phi(-sqrt(S / (S - 1)) t_0.025),   S sets, t with S - 1 degrees of freedom

    Each resample draws S sets, and from each drawn set as many members as it has, both with
    replacement. The interval excludes this tail of the resampled means on both sides (Hesterberg's
    expanded percentile interval; with tails of 2.5 %, intervals over few sets are too narrow).
    The statistic is a function of the variables of a set, with the members in the last axis; NaN is
    excluded.
    """
    resampled = rng.integers(len(sets), size=(resamples, len(sets)))
    values = np.empty(resampled.shape)
    for index, variables in enumerate(sets):
        drawn = resampled == index
        n = variables.shape[1]
        members = rng.integers(n, size=(drawn.sum(), n))
        values[drawn] = statistic(*variables[:, members])
    defined = np.isfinite(values).any(axis=1)
    tail = expanded_tail(len(sets))
    low, high = np.quantile(np.nanmean(values[defined], axis=1), [tail, 1 - tail])
    value = np.nanmean([statistic(*variables) for variables in sets])
    return Interval(float(value), float(low), float(high), 0.95, len(sets))


def by_set(dataset: xr.Dataset, names: Sequence[str]) -> list[np.ndarray]:
    """Return the variables of each set, for minima with a learning coefficient."""
    measured = dataset.isel(minimum=np.isfinite(dataset.chains_coefficient.values))
    columns = np.array([measured[VARIABLES[name]].values for name in names], float)
    return split_by_set(measured, columns)


def split_by_set(dataset: xr.Dataset, columns: np.ndarray) -> list[np.ndarray]:
    """Return the columns of each set of images; `columns` are [variables, minima]."""
    index = dataset["set"].values
    return [columns[:, index == one] for one in np.unique(index)]


def gains(dataset: xr.Dataset) -> dict[str, Interval]:
    """Return mean differences of the log volume from the previous coordinates, with intervals."""
    sets = split_by_set(dataset, dataset.log_volume.values.T)
    rng, resamples = np.random.default_rng(1), dataset.attrs["resamples"]

    def difference(index):
        return lambda *volumes: np.mean(volumes[index] - volumes[index - 1], axis=-1)

    return {
        name: bootstrap(difference(index), sets, resamples, rng)
        for index, name in enumerate(COORDINATES)
        if index
    }


def correlations(dataset: xr.Dataset) -> dict[tuple[str, ...], tuple[Interval, np.ndarray]]:
    """Return mean rank correlations with intervals, and the correlations in each set.

    The keys are those of `PAIRS`; of three variables, the third one is held fixed.
    """
    rng, estimates = np.random.default_rng(0), {}
    for names in PAIRS:
        statistic = rank_correlation if len(names) == 2 else partial_rank_correlation
        sets = by_set(dataset, names)
        mean = bootstrap(statistic, sets, dataset.attrs["resamples"], rng)
        estimates[names] = mean, np.array([statistic(*variables) for variables in sets])
    return estimates


def numbers(dataset: xr.Dataset) -> dict:
    """Return counts, widths, and rank correlations."""
    _, minima = np.unique(dataset["set"].values, return_counts=True)
    gain = gains(dataset)
    summary: dict = {
        "parameters": dataset.attrs["parameters"],
        "sets": len(minima),
        "minima": dataset.sizes["minimum"],
        "minima_by_set": minima.tolist(),
        "minima_found_twice": int((dataset["count"] > 1).sum()),
        "coefficients_refused": int((dataset.chains_status != 0).sum()),
        "volumes_lower_bounds": int(dataset.volume_lower_bound.sum()),
        "coefficient_least": float(dataset.chains_coefficient.min()),
        "coefficient_most": float(dataset.chains_coefficient.max()),
        "correlation": {},
        "partial_correlation": {},
        "coordinates": {
            name: {"log_volume": float(values.mean())}
            | ({"gain": gain[name][:3]} if name in gain else {})
            for name, values in zip(COORDINATES, dataset.log_volume.values.T, strict=True)
        },
    }
    estimates = correlations(dataset)
    triples = [mean[:3] for mean, _ in estimates.values()]
    corrected = holm(p_values(triples, freedom=len(minima) - 1))
    for ((a, b, *fixed), (mean, each)), p in zip(estimates.items(), corrected, strict=True):
        by_pair = summary["partial_correlation" if fixed else "correlation"]
        by_pair.setdefault(a, {})[b] = {"mean": mean[:3], "by_set": each.tolist(), "p": p}
    return summary


def plot(dataset: xr.Dataset) -> dict:
    """Draw each minimum's number of starts and accuracy against its widths."""
    sets, estimates = dataset["set"].values, correlations(dataset)
    figure = Figure(figsize=(11, 7.6))
    panels = figure.subplots(2, 2, sharex="col", sharey="row")
    rows = {"starts": dataset["count"].values, "accuracy": 100 * dataset.test_accuracy.values}
    for column, (name, (variable, label)) in zip(panels.T, WIDTHS.items(), strict=True):
        x = dataset[variable].values
        for axes, (quantity, y) in zip(column, rows.items(), strict=True):
            for index in np.unique(sets):
                look: dict = {"color": f"C{index}", "markersize": 4, "alpha": 0.8}
                axes.plot(x[sets == index], y[sets == index], "o", **look)
            axes.set_title(
                f"rank correlation {with_ends(estimates[name, quantity][0])};\n"
                f"cost held fixed {with_ends(estimates[name, quantity, 'cost'][0])}",
                fontsize="medium",
            )
        column[0].set_yscale("log", base=2)
        column[0].yaxis.set_major_formatter("{x:g}")
        column[1].set_xlabel(label)
    panels[0, 0].set_ylabel("number of starts")
    panels[1, 0].set_ylabel("test accuracy, %")
    figure.suptitle(
        f"{len(sets)} minima on {len(np.unique(sets))} disjoint sets of images, one color each"
    )
    return {"widths": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
