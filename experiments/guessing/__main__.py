"""Does descent find better networks than random guessing?

    draw w ~ N given that it fits k images   against   descend from w ~ N until it fits them,
    ratio = error of descents / error of random networks,   on unseen images

    python -m experiments.guessing           (about 4 min of processor time)

Expected: guessed and trained networks are equally accurate (published for small networks: Chiang et
al., ICLR 2023), and the advantage of descent diminishes as the number of images grows (published
for binary networks: arXiv 2606.31282). The first is refuted if the interval of the difference,
paired over the 16 sets, does not contain 0. The second is refuted for the range of k measured here
if the ratio of errors does not increase with k: its change per doubling of k has an interval that
contains 1 or lies below it.
"""

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import SIDE, pooled
from experiments.shared.statistics import with_ends
from gdjax.base.errors import InputError
from gdjax.base.statistics import Interval, mean, paired
from gdjax.plots.style import BLUE, GREEN, GREY, VERMILLION

from .conditioned_networks import sampled
from .model import Config, guess

# Descents that are compared with sampled networks.
KINDS = ("trained", "trained_on", "trained_all")
LATE = 20  # the slope is also computed for numbers of images from this one on
# Label and color of the curves in figures.
CURVES = {
    "sampled": ("sampled, given that they fit", GREY),
    "trained": ("trained until they fit", BLUE),
    "matched": ("trained until they fit, same margin", VERMILLION),
    "trained_on": ("trained to the last step", GREEN),
}


def images(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return standardized 5x5 images of the two digits, and their labels -1 and 1."""
    image_set = gd.data.load(config.data)
    labels = np.concatenate([image_set.train_labels, image_set.test_labels])
    chosen = np.isin(labels, config.digits)
    ten = pooled(np.concatenate([image_set.train_images, image_set.test_images])[chosen])
    half = SIDE // 2
    five = ten.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(-1, half**2)
    five -= five.mean(axis=0)
    return five / five.std(), np.where(labels[chosen] == config.digits[1], 1.0, -1.0)


def cut(config: Config, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image indices of each set, and flags of the images that are not in it.

    The two digits alternate in each set, and the sets are disjoint.
    """
    rng = np.random.default_rng(0)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (-1, 1)]
    half = config.sets * config.most // 2
    if config.most % 2 or min(len(one) for one in each) < half:
        raise InputError(
            f"most = {config.most}, expected an even number of images per set; {config.sets} "
            f"disjoint sets have at most {2 * (min(map(len, each)) // config.sets)} images each"
        )
    pairs = np.stack([one[:half].reshape(config.sets, -1) for one in each], axis=-1)
    sets = pairs.reshape(config.sets, -1)
    unseen = np.ones((config.sets, len(labels)), bool)
    np.put_along_axis(unseen, sets, False, axis=1)
    return sets, unseen


def run(config: Config) -> xr.Dataset:
    """Return results of guesses, samples and descents for each set and k."""
    x, y = images(config)
    chosen, unseen = cut(config, y)
    sets, everything = (
        (jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i], jnp.float32)) for i in (chosen, ...)
    )
    unseen = jnp.asarray(unseen)
    accepted, guessed, counts = guess(config, sets, everything, unseen)
    columns = {"accepted": accepted, "guessed": guessed, "looked_at": counts}
    guesses = xr.Dataset(
        {name: (("set", "guessed_k"), values) for name, values in columns.items()},
        {"guessed_k": np.arange(2, config.guessed + 1, 2)},
        {"guesses": 2 * config.blocks * config.guesses, "unseen": int(unseen[0].sum())},
    )
    return guesses.merge(sampled(config, sets, everything, unseen))


def by_set(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return mean accuracies of each set and k, [sets, ks], by name.

    Means over the descents that fit are NaN if there are none. "trained_all" includes all descents.
    """
    values = {"sampled": dataset.sampled.values, "returned": dataset.returned.values}
    for name in (*KINDS, "matched"):
        values[name] = dataset[name].mean("descent").values
    return values


def ratios(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """Return logarithms of ratios of errors, descents to sampled networks, [sets, ks], by name.

    The ratios "returned_trained" and so on compare descents with networks sampled from the ends of
    descents. "matched" compares descents at their first fit with the sampled networks of nearest
    margin.
    """
    values = by_set(dataset)
    pairs = {name: (name, "sampled") for name in KINDS} | {"matched": ("trained", "matched")}
    pairs |= {f"returned_{name}": (name, "returned") for name in KINDS}
    return {n: np.log((1 - values[a]) / (1 - values[b])) for n, (a, b) in pairs.items()}


def slopes(log_ratio: np.ndarray, k: np.ndarray) -> Interval:
    """Return the mean change of the logarithm of a ratio per doubling of k.

    Each set has its own least-squares line through its finite values.
    """
    fits = []
    for row in log_ratio:
        known = np.isfinite(row)
        fits.append(np.polyfit(np.log2(k[known]), row[known], 1)[0])
    return mean(fits)


def compared(dataset: xr.Dataset) -> tuple[dict[str, dict], dict[str, dict]]:
    """Return accuracies with their differences, and ratios of errors, as intervals over sets.

    They are given by name and k, where at least two sets have a value.
    """
    ks = dataset.k.values.tolist()
    # Guesses are known for some k only.
    guesses = dataset[["accepted", "guessed", "looked_at"]].rename(guessed_k="k").reindex(k=ks)
    guessed = guesses.guessed.where(guesses.looked_at > 0).values
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(guesses.accepted.values / dataset.attrs["guesses"])
        difference = dataset.log_probability.values - logs
    difference[~np.isfinite(difference)] = np.nan
    values = by_set(dataset)
    # For each name: the function that computes an interval, and its columns [sets, ks].
    rows: dict[str, tuple] = {name: (mean, one) for name, one in values.items()}
    rows["returned_minus_sampled"] = (paired, values["sampled"], values["returned"])
    rows["guessed"] = (mean, guessed)
    rows["sampled_minus_guessed"] = (paired, guessed, values["sampled"])
    rows["probability_ratio"] = (exponential_mean, difference)

    def over_sets(rows):
        intervals: dict[str, dict[int, Interval]] = {}
        for name, (interval_of, *columns) in rows.items():
            known = np.flatnonzero(np.isfinite(sum(columns)).sum(axis=0) >= 2)
            of_k = {ks[at]: interval_of(*(one[:, at] for one in columns)) for at in known}
            intervals |= {name: of_k} if of_k else {}
        return intervals

    errors = {name: (exponential_mean, one) for name, one in ratios(dataset).items()}
    return over_sets(rows), over_sets(errors)


def exponential_mean(logarithms: np.ndarray) -> Interval:
    """Return the geometric mean with its interval, from the logarithms of the values."""
    one = mean(logarithms)
    return one._replace(value=np.exp(one.value), low=np.exp(one.low), high=np.exp(one.high))


def numbers(dataset: xr.Dataset) -> dict:
    """Return shares of guesses that fit, accuracies and comparisons by k, and trends in k."""
    intervals, error_ratios = compared(dataset)
    k, by_k = dataset.k.values, {}
    for number in k.tolist():
        one = dataset.sel(k=number)
        # Share of descents whose margin at the end exceeds that of every sampled network.
        beyond = one.margin_at_end > one.margin.max("member")
        by_k[str(number)] = {
            "log10_probability": float(one.log_probability.mean() / np.log(10)),
            "descents_that_fit": float(one.fitted.mean()),
            "margin_beyond": float(beyond.where(one.fitted).mean()),
            **{name: at[number][:3] for name, at in intervals.items() if number in at},
            "ratio": {name: at[number][:3] for name, at in error_ratios.items() if number in at},
        }
    by_guessed_k = {}
    for number in dataset.guessed_k.values.tolist():
        accepted = 1e6 * dataset.accepted.sel(guessed_k=number).mean() / dataset.attrs["guesses"]
        by_guessed_k[str(number)] = {"accepted_of_a_million": float(accepted)}
    summary: dict = {
        "guesses_of_each_set": dataset.attrs["guesses"],
        "unseen_images": dataset.attrs["unseen"],
        "late": LATE,
        "k": by_k,
        "guessed_k": by_guessed_k,
        "per_doubling": {},
        "per_doubling_late": {},
    }
    for name, log_ratio in ratios(dataset).items():
        for trend, chosen in (("per_doubling", k > 0), ("per_doubling_late", k >= LATE)):
            rows = log_ratio[:, chosen]
            rows = rows[np.isfinite(rows).sum(axis=1) >= 3]
            if len(rows) >= 2:
                summary[trend][name] = np.exp(slopes(rows, k[chosen])[:3])
    return summary


def plot(dataset: xr.Dataset) -> dict:
    """Draw the probability of a fit, accuracies, and ratios of errors."""
    intervals, error_ratios = compared(dataset)
    figure = Figure(figsize=(13, 5))
    rare, reads, errors = figure.subplots(1, 3)
    k, share = dataset.k.values, np.exp(dataset.log_probability.values)
    rare.plot(k, np.where(share > 0, share, np.nan).T, color=GREY, linewidth=0.8)
    rare.plot(k, np.exp(np.mean(np.log(share), axis=0)), color=BLUE, label="sampled, mean")
    rare.plot(k, 0.5**k, color="black", linestyle=":", label="random predictions")
    k = dataset.guessed_k.values
    share = dataset.accepted.values / dataset.attrs["guesses"]
    all_fit = (share > 0).all(axis=0)
    mean = np.exp(np.mean(np.log(share[:, all_fit]), axis=0))
    rare.plot(k[all_fit], mean, "o", color=VERMILLION, label="guessed, mean")
    rare.set(yscale="log", ylabel="probability that a random network fits")
    rare.legend()
    for name in ("sampled", "trained", "trained_on"):
        _by_k(reads, intervals[name], *CURVES[name], 100)
    guessed = [100 * one.value for one in intervals["guessed"].values()]
    look: dict = {"color": VERMILLION, "label": "guessed", "zorder": 3}
    reads.plot(list(intervals["guessed"]), guessed, "x", **look)
    reads.set_ylabel("accuracy on unseen images, %")
    errors.axhline(1, color="black", linewidth=1)
    for name in ("trained", "matched", "trained_on"):
        _by_k(errors, error_ratios[name], *CURVES[name], 1)
    errors.set_ylabel("error relative to sampled networks")
    handles = {h.get_label(): h for axes in (reads, errors) for h in axes.get_lines()}
    shown = [h for label, h in handles.items() if not label.startswith("_")]
    figure.legend(handles=shown, loc="outside lower right", ncols=3)
    for axes in (rare, reads, errors):
        axes.set_xlabel("number of fitted images")
    last, ratio = list(error_ratios["trained_on"].items())[-1]
    figure.suptitle(
        f"With {last} images, networks trained to the last step have "
        f"{with_ends(ratio)} times the error of sampled networks"
    )
    return {"guesses": figure}


def _by_k(axes, intervals, label, color, scale):
    k = np.array(list(intervals))
    value, low, high = (scale * np.array([v[i] for v in intervals.values()]) for i in range(3))
    axes.plot(k, value, color=color, marker="o", markersize=4, label=label)
    axes.fill_between(k, low, high, color=color, alpha=0.2, linewidth=0)


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
