"""Are wide valleys found more often than narrow ones, and do their networks read better?

    log V = log volume within a level of the minimum,   coefficient = b E[C(w) - C(w*)]
    r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)),   z the cost of the minimum

A small digit network with weight decay is trained from many starts on each of several disjoint sets
of images, and the minima are counted (`minima.census`). Each is then measured: the volume in which
the cost is at most a level above it, by random directions in whitened coordinates, and the learning
coefficient at one temperature, by sixteen chains. Both are compared with how many starts ended
there and how many unseen digits the network reads, by rank correlations within each set, with and
without the cost held fixed. The mean over sets has a bootstrap interval over sets and over the
minima within them. All neurons' names are taken out, so that each minimum stands for as many
copies.

    python experiments/widths_of_valleys.py           (about 5 min of processor time)

Expected: found more often the larger the volume (a mean rank correlation with an interval above 0),
since a start ends in a basin in proportion to how much room it has; read better the wider
(published for large networks, and disputed). Refuted by intervals that hold 0 or lie below it.

References: Davison and Hinkley 1997, *Bootstrap Methods and their Application*, 3.8 (resampling at
two levels); Hesterberg 2015, *What teachers should know about the bootstrap*, The American
Statistician 69, 371 (intervals of few sets).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import widths as plots
from jaxtyping import Float
from scipy import stats

import gdjax as gd
from gdjax.errors import InputError
from gdjax.minima import census, count_end_points
from gdjax.problems.problem import NOTHING
from gdjax.statistics import Interval
from gdjax.volumes.basin_volume import basin_volume
from gdjax.volumes.learning_coefficient import finite_temperature_coefficient
from gdjax.volumes.whitening import whitened

TOGETHER = 8  # minima measured in one call of the compiled program
ROUNDING = 1e-12  # of a correlation: below it, nothing is left once another one is held fixed
FEWEST = 5  # minima of a set: partial correlations of fewer say nothing
FROM_CENSUS = ("count", "minimum_cost")


@dataclass(frozen=True)
class Config:
    """Which network, and how its minima are measured.

    Args:
        data: name of the data set.
        sets: disjoint sets of training images, of those that hold every digit.
        images: training images of each set.
        hidden: neurons of the hidden layer.
        decay: weight decay, of the weights.
        seeds: starting points for each set.
        steps: of descent.
        learning_rate: of descent, with momentum.
        momentum: heavy-ball momentum.
        polishing: steps of Newton's method at most.
        level: by how much the cost may rise within a basin.
        directions: in which its rim is sought.
        inverse_temperature: of the chains.
        localization: of the chains, in the units of the parameters.
        num_samples: of each chain.
        num_warmup: samples of each chain before those, in which its step size is chosen.
        num_integration_steps: of each trajectory.
        resamples: of the bootstrap.
        key: of probes, directions and chains.
    """

    data: str = "mnist5k"
    sets: int = 8
    images: int = 50
    hidden: int = 3
    decay: float = 3e-3
    seeds: int = 32
    steps: int = 4000
    learning_rate: float = 3.0
    momentum: float = 0.9
    polishing: int = 100
    level: float = 0.002
    directions: int = 200
    inverse_temperature: float = 10_000.0
    localization: float = 100.0
    num_samples: int = 200
    num_warmup: int = 100
    num_integration_steps: int = 16
    resamples: int = 2000
    key: int = 0


def run(config: Config) -> xr.Dataset:
    """The minima of all sets, with the width of each."""
    if config.sets < 2:
        raise InputError(f"sets = {config.sets}: expected at least 2, over which to repeat")
    chosen = complete_sets(config)
    first = _problem(config, chosen[0])
    found = [_of_set(config, index, first) for index in chosen]
    return xr.concat(found, "minimum", combine_attrs="drop").assign_attrs(
        resamples=config.resamples,
        kinds=[dict(one.attrs["kinds"]) for one in found],
        parameters=found[0].attrs["parameters"],
    )


def complete_sets(config: Config) -> list[int]:
    """Return which consecutive sets of images hold every digit, the first `config.sets` of them.

    The cost of a set without a digit has no minimum: the bias of that digit's output is not
    decayed, and the cost falls as it goes to minus infinity.
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
            f"{config.data} hold every digit; take at most as many, or more images for each"
        )
    return complete[: config.sets]


def _problem(config: Config, index: int) -> gd.Problem:
    """The network on one set of images."""
    return gd.problems.few_digits(
        config.data,
        samples=config.images,
        first=index * config.images,
        widths=(config.hidden,),
        decay=config.decay,
    )


def _of_set(config: Config, index: int, first: gd.Problem) -> xr.Dataset:
    """The census of one set of images, and the width of each of its minima."""
    problem = _problem(config, index)
    # Problems that differ in nothing but their data share compiled programs.
    alike = replace(first, data=problem.data, metrics=NOTHING)
    runs = gd.sweep(
        problem,
        gd.axes(seed=range(config.seeds)),
        config.steps,
        make_optimizer=partial(
            optax.sgd, learning_rate=config.learning_rate, momentum=config.momentum
        ),
        record_every=config.steps,
        metrics={},
    )
    like = jax.eval_shape(problem.init, jax.random.key(0))
    key_census, key_widths = jax.random.split(jax.random.key(config.key + index))
    ends = gd.params_of(runs, like, {})
    found = census(alike, ends, key=key_census, max_steps=config.polishing)
    count = found.sizes["minimum"]
    if count < FEWEST:
        raise InputError(
            f"seeds = {config.seeds}: minima found {count} on set {index}, expected at least "
            f"{FEWEST}, to compare their widths; take more seeds"
        )
    minima = gd.params_of(found, like, {})
    with jax.enable_x64(True):
        columns = measured(config, alike, minima, key_widths)
    columns |= {name: found[name].values for name in FROM_CENSUS}
    metric = problem.metrics["test_accuracy"]
    accuracy = jax.jit(jax.vmap(metric.function, in_axes=(0, None)))(minima, metric.data)
    columns["test_accuracy"] = np.asarray(accuracy)
    return xr.Dataset(
        {name: ("minimum", value) for name, value in columns.items()},
        coords={"set": ("minimum", np.full(count, index))},
        attrs={"kinds": count_end_points(found), "parameters": problem.network.parameter_count},
    )


def measured(config: Config, problem: gd.Problem, minima, key) -> dict[str, np.ndarray]:
    """Volume and coefficient of every minimum."""
    count = len(jax.tree.leaves(minima)[0])
    # The last call is filled up, so that one program serves all sets.
    rows = np.minimum(np.arange(-(-count // TOGETHER) * TOGETHER), count - 1)
    minima = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64)[rows], minima)
    inputs = minima, jax.random.split(key, len(rows))

    def part(start):
        some = jax.tree.map(lambda a: a[start : start + TOGETHER], inputs)
        return _measure(config, problem, *some)

    parts = [part(start) for start in range(0, len(rows), TOGETHER)]
    room, chains = jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)
    columns = {f"volume_{name}": value for name, value in room._asdict().items()}
    return columns | {f"chains_{name}": value for name, value in chains._asdict().items()}


@partial(jax.jit, static_argnums=0)
def _measure(config, problem, minima, keys):
    """Volumes and coefficients of some minima."""

    def one(w, key):
        key_volume, key_chains = jax.random.split(key)
        # A basin ends where its level is reached; for chains it ends where the prior does.
        decay = 2 * config.decay
        basin = whitened(problem, w, floor=decay)
        floor = config.localization / config.inverse_temperature
        prior = basin._replace(scale=(basin.scale**-2 - decay + floor) ** -0.5)
        room = basin_volume(
            problem,
            w,
            key=key_volume,
            level=config.level,
            directions=config.directions,
            preconditioner=basin,
        )
        chains = finite_temperature_coefficient(
            problem,
            w,
            key=key_chains,
            inverse_temperature=config.inverse_temperature,
            localization=config.localization,
            whitening=prior,
            num_samples=config.num_samples,
            num_warmup=config.num_warmup,
            num_integration_steps=config.num_integration_steps,
        )
        return room._replace(radii=jnp.median(room.radii)), chains._replace(
            chain_coefficients=jnp.std(chains.chain_coefficients)
        )

    return jax.vmap(one)(minima, keys)


WIDTHS = {"volume": "volume_log_volume", "coefficient": "chains_coefficient"}
ASKED = {"starts": "count", "accuracy": "test_accuracy", "cost": "minimum_cost"}
NAMES = WIDTHS | ASKED
PAIRS = [(a, b, None) for a in WIDTHS for b in ASKED]
PAIRS += [("cost", "starts", None), ("cost", "accuracy", None)]
PAIRS += [(a, b, "cost") for a in WIDTHS for b in ("starts", "accuracy")]


def rank_correlation(
    x: Float[np.ndarray, "*batch n"], y: Float[np.ndarray, "*batch n"]
) -> Float[np.ndarray, "*batch"]:
    """Return Spearman's rank correlation along the last axis, NaN where one is constant."""
    x, y = (stats.rankdata(one, axis=-1) for one in (x, y))
    x, y = (one - one.mean(axis=-1, keepdims=True) for one in (x, y))
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return (x * y).sum(axis=-1) / np.where(scale > 0, scale, np.nan)


def partial_rank_correlation(
    x: Float[np.ndarray, "*batch n"],
    y: Float[np.ndarray, "*batch n"],
    z: Float[np.ndarray, "*batch n"],
) -> Float[np.ndarray, "*batch"]:
    """Return the rank correlation of x and y with z held fixed.

        r_xy.z = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))

    It is NaN where x or y has the ranks of z.
    """
    xy, xz, yz = rank_correlation(x, y), rank_correlation(x, z), rank_correlation(y, z)
    rest = np.sqrt(np.clip(1 - xz**2, 0, None) * np.clip(1 - yz**2, 0, None))
    return (xy - xz * yz) / np.where(rest > ROUNDING, rest, np.nan)


def expanded_tail(count: int) -> float:
    """Return which tail of a bootstrap distribution of `count` sets stands for 2.5 %."""
    return float(stats.norm.cdf(-np.sqrt(count / (count - 1)) * stats.t.isf(0.025, count - 1)))


def bootstrap(
    statistic: Callable[..., Float[np.ndarray, "*batch"]],
    sets: Sequence[Float[np.ndarray, "variables n"]],
    resamples: int,
    rng: np.random.Generator,
) -> Interval:
    """Return the mean of a statistic over sets, with a bootstrap interval at two levels.

        tail = Phi(-sqrt(S / (S - 1)) t_0.025),   S sets, t of S - 1 degrees of freedom

    Each resample draws as many sets as there are, and from each drawn set as many members as it
    has, both with replacement. The interval leaves out this tail of the means on both sides
    (Hesterberg's expanded percentile interval: with 2.5 %, few sets are too sure). Statistics that
    are NaN are left out.

    Args:
        statistic: takes the variables of a set, arrays whose last axis is the members.
        sets: the variables of each set.
        resamples: how often to draw.
        rng: for the draws.
    """
    chosen = rng.integers(len(sets), size=(resamples, len(sets)))
    values = np.empty(chosen.shape)
    for index, variables in enumerate(sets):
        drawn = chosen == index
        n = variables.shape[1]
        members = rng.integers(n, size=(drawn.sum(), n))
        values[drawn] = statistic(*variables[:, members])
    defined = np.isfinite(values).any(axis=1)
    tail = expanded_tail(len(sets))
    low, high = np.quantile(np.nanmean(values[defined], axis=1), [tail, 1 - tail])
    value = np.nanmean([statistic(*variables) for variables in sets])
    return Interval(float(value), float(low), float(high), 0.95, len(sets))


def _sets(dataset: xr.Dataset, names: Sequence[str]) -> list[np.ndarray]:
    """Variables of each set, of the minima whose width is known."""
    known = np.isfinite(dataset[WIDTHS["coefficient"]].values)
    columns = np.array([dataset[NAMES[name]].values[known] for name in names], float)
    index = dataset["set"].values[known]
    return [columns[:, index == one] for one in np.unique(index)]


def correlations(dataset: xr.Dataset) -> dict[str, tuple[Interval, np.ndarray]]:
    """Return mean rank correlations within sets with their intervals, and those of each set.

    Volume and coefficient against starts, accuracy and cost; cost against starts and accuracy;
    volume and coefficient against starts and accuracy with the cost held fixed.
    """
    rng = np.random.default_rng(0)
    found = {}
    for a, b, fixed in PAIRS:
        names = [a, b] if fixed is None else [a, b, fixed]
        statistic = rank_correlation if fixed is None else partial_rank_correlation
        sets = _sets(dataset, names)
        found[f"{a}_and_{b}" + ("" if fixed is None else f"_given_{fixed}")] = (
            bootstrap(statistic, sets, dataset.attrs["resamples"], rng),
            np.array([statistic(*variables) for variables in sets]),
        )
    return found


def narrow_groups(sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return of each set the members above the largest gap of its first variable.

    Sets with fewer than 5 such members are left out.
    """
    found = []
    for variables in sets:
        ordered = np.sort(variables[0])
        gap = np.argmax(np.diff(ordered))
        found.append(variables[:, variables[0] > ordered[gap]])
    return [one for one in found if one.shape[1] >= FEWEST]


def numbers(dataset: xr.Dataset) -> dict:
    """How many minima, how wide, and what goes with width."""
    labels = sorted({label for one in dataset.attrs["kinds"] for label in one})
    found: dict = {
        f"runs_{label.replace(' ', '_')}": [one.get(label, 0) for one in dataset.attrs["kinds"]]
        for label in labels
    }
    _, minima = np.unique(dataset["set"].values, return_counts=True)
    found |= {
        "parameters": dataset.attrs["parameters"],
        "sets": len(minima),
        "minima": dataset.sizes["minimum"],
        "minima_by_set": minima.tolist(),
        "minima_found_twice": int((dataset["count"] > 1).sum()),
        "coefficients_refused": int((dataset.chains_status != 0).sum()),
        "volumes_lower_bounds": int(dataset.volume_lower_bound.sum()),
        "chains_rhat_most": float(
            np.maximum(dataset.chains_rhat, dataset.chains_distance_rhat).max()
        ),
        "chains_effective_least": float(dataset.chains_effective_sample_size.min()),
        "volume_effective_least": float(dataset.volume_effective_directions.min()),
        "volume_standard_error_most": float(dataset.volume_standard_error.max()),
        "coefficient_standard_error_most": float(np.nanmax(dataset.chains_standard_error)),
    }
    for name, variable in NAMES.items():
        values = dataset[variable].values
        found |= {
            f"{name}_least": float(np.nanmin(values)),
            f"{name}_median": float(np.nanmedian(values)),
            f"{name}_most": float(np.nanmax(values)),
        }
    for name, (mean, each) in correlations(dataset).items():
        found[name] = mean[:3]
        found[f"{name}_by_set"] = each.tolist()
    # A correlation over two groups may be that of the groups, and another one within them.
    narrow = [
        one[1:] for one in narrow_groups(_sets(dataset, ["coefficient", "volume", "accuracy"]))
    ]
    if len(narrow) > 1:
        rng = np.random.default_rng(0)
        mean = bootstrap(rank_correlation, narrow, dataset.attrs["resamples"], rng)
        found |= {
            "narrow_sets": len(narrow),
            "narrow_minima": sum(one.shape[1] for one in narrow),
            "narrow_volume_and_accuracy": mean[:3],
            "narrow_volume_and_accuracy_by_set": [float(rank_correlation(*one)) for one in narrow],
        }
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Starts and accuracy against both widths, and the correlations of each set."""
    found = correlations(dataset)
    return {"widths": plots.of_minima(dataset, found), "sets": plots.of_sets(found)}


if __name__ == "__main__":
    common.main("widths_of_valleys", Config, run, plot, numbers)
