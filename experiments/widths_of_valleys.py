"""Are wide valleys found more often than narrow ones, and do their networks read better?

    log V = log volume within a level of the minimum,   coefficient = b E[C(w) - C(w*)]

A small digit network with weight decay is trained from many starts, and the minima are counted
(`minima.census`). Each is then measured from inside: the volume in which the cost is at most a
level above it, by random directions in whitened coordinates, and the learning coefficient at one
temperature, by sixteen chains. Both are laid beside how many starts ended there and how many unseen
digits its network reads. All neurons' names are taken out, so that each minimum stands for as many
copies.

    python experiments/widths_of_valleys.py           (about 3 min of processor time)

Expected: found more often the larger the volume (a rank correlation with an interval above 0),
since a start ends in a basin in proportion to how much room it has; read better the wider
(published for large networks, and disputed). Refuted by intervals that hold 0 or lie below it.
"""

from dataclasses import dataclass
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import widths as plots
from scipy import stats

import gdjax as gd
from gdjax.errors import InputError
from gdjax.geometry.learning_coefficient import finite_temperature_coefficient
from gdjax.geometry.volumes import volume
from gdjax.geometry.whitening import whitened
from gdjax.minima import census, kinds
from gdjax.statistics import Interval

TOGETHER = 8  # minima measured in one program


@dataclass(frozen=True)
class Config:
    """Which network, and how its minima are measured.

    Args:
        data: name of the data set.
        images: training images.
        hidden: neurons of the hidden layer.
        decay: weight decay, of the weights.
        seeds: starting points.
        steps: of descent.
        learning_rate: of descent, with momentum.
        momentum: heavy-ball momentum.
        polishing: steps of Newton's method at most.
        level: by how much the cost may rise within a basin.
        directions: in which its rim is sought.
        inverse_temperature: of the chains.
        localization: of the chains, in the units of the parameters.
        num_samples: of each chain.
        num_integration_steps: of each trajectory.
        resamples: of the bootstrap.
        key: of probes, directions and chains.
    """

    data: str = "mnist5k"
    images: int = 50
    hidden: int = 3
    decay: float = 3e-3
    seeds: int = 192
    steps: int = 4000
    learning_rate: float = 3.0
    momentum: float = 0.9
    polishing: int = 100
    level: float = 0.002
    directions: int = 1000
    inverse_temperature: float = 10_000.0
    localization: float = 100.0
    num_samples: int = 300
    num_integration_steps: int = 16
    resamples: int = 2000
    key: int = 0


def run(config: Config) -> xr.Dataset:
    """The census, and the width of each of its minima."""
    problem = gd.problems.few_digits(
        config.data, samples=config.images, widths=(config.hidden,), decay=config.decay
    )
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
    key_census, key_widths = jax.random.split(jax.random.key(config.key))
    ends = gd.params_of(runs, like, {})
    found = census(problem, ends, key=key_census, steps=config.polishing)
    count = found.sizes["minimum"]
    if count < 2:
        raise InputError(
            f"seeds = {config.seeds}: minima found {count}, expected several, to compare their "
            f"widths; take more seeds"
        )
    minima = gd.params_of(found, like, {})
    with jax.enable_x64(True):
        widths = measured(config, problem, minima, key_widths)
    return found.assign(
        {name: ("minimum", value) for name, value in widths.items()}
    ).assign_attrs(resamples=config.resamples, parameters=problem.network.parameter_count,
                   level=config.level, inverse_temperature=config.inverse_temperature)  # fmt: skip


def measured(config: Config, problem: gd.Problem, minima, key) -> dict[str, np.ndarray]:
    """Volume and coefficient of every minimum."""

    def one(at, problem):
        w, key = at
        key_volume, key_chains = jax.random.split(key)
        # A basin ends where its level is reached; for chains it ends where the prior does.
        decay = 2 * config.decay
        basin = whitened(problem, w, floor=decay)
        floor = config.localization / config.inverse_temperature
        prior = basin._replace(scale=(basin.scale**-2 - decay + floor) ** -0.5)
        room = volume(
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
            num_integration_steps=config.num_integration_steps,
        )
        return room._replace(radii=jnp.median(room.radii)), chains._replace(
            chain_coefficients=jnp.std(chains.chain_coefficients)
        )

    count = len(jax.tree.leaves(minima)[0])
    minima = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), minima)

    @jax.jit
    def all_of_them(minima, keys, problem):
        return jax.lax.map(lambda at: one(at, problem), (minima, keys), batch_size=TOGETHER)

    room, chains = all_of_them(minima, jax.random.split(key, count), problem)
    told = {f"volume_{name}": value for name, value in room._asdict().items()}
    told |= {f"chains_{name}": value for name, value in chains._asdict().items()}
    return {name: np.asarray(value) for name, value in told.items()}


WIDTHS = {"volume": "volume_log_volume", "coefficient": "chains_coefficient"}
ASKED = {"starts": "count", "accuracy": "test_accuracy", "cost": "minimum_cost"}


def correlations(dataset: xr.Dataset) -> dict[str, Interval]:
    """Spearman's rank correlations over the minima whose width is known, with bootstrap intervals.

    Volume and coefficient against starts, accuracy and cost; cost against starts and accuracy.
    """
    rng = np.random.default_rng(0)
    names = WIDTHS | ASKED
    pairs = [(a, b) for a in WIDTHS for b in ASKED] + [("cost", "starts"), ("cost", "accuracy")]
    known = np.isfinite(dataset[WIDTHS["coefficient"]].values)
    found = {}
    for a, b in pairs:
        x, y = (dataset[names[one]].values[known] for one in (a, b))
        value = float(stats.spearmanr(x, y).statistic)
        drawn = []
        for _ in range(dataset.attrs["resamples"]):
            rows = rng.integers(len(x), size=len(x))
            if np.ptp(x[rows]) > 0 and np.ptp(y[rows]) > 0:
                drawn.append(stats.spearmanr(x[rows], y[rows]).statistic)
        low, high = np.quantile(drawn, [0.025, 0.975])
        found[f"{a}_and_{b}"] = Interval(value, float(low), float(high), 0.95, len(x))
    return found


def numbers(dataset: xr.Dataset) -> dict:
    """How many minima, how wide, and what goes with width."""
    found: dict = {
        f"runs_{kind.replace(' ', '_')}": count for kind, count in kinds(dataset).items()
    }
    found |= {
        "parameters": dataset.attrs["parameters"],
        "minima": dataset.sizes["minimum"],
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
    for name, variable in (WIDTHS | ASKED).items():
        values = dataset[variable].values
        found |= {
            f"{name}_least": float(np.nanmin(values)),
            f"{name}_median": float(np.nanmedian(values)),
            f"{name}_most": float(np.nanmax(values)),
        }
    for name, one in correlations(dataset).items():
        found[name] = one[:3]
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Starts and accuracy against both widths."""
    return {"widths": plots.of_minima(dataset, correlations(dataset))}


if __name__ == "__main__":
    common.main("widths_of_valleys", Config, run, plot, numbers)
