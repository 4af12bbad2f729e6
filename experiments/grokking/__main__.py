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

import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import addition
from .summary import delays, numbers


def run(config: Config) -> xr.Dataset:
    """Return costs and accuracies of all runs, by weight decay, seed and step."""
    seeds = list(range(config.seeds))

    def adamw(*, weight_decay):
        return optax.adamw(config.learning_rate, weight_decay=weight_decay)

    runs = gd.sweep(
        addition(config),
        gd.axes(weight_decay=list(config.decays), run=gd.zip_axes(seed=seeds, pairs=seeds)),
        config.steps,
        make_optimizer=adamw,
        record_every=config.record_every,
    )
    return (
        runs[["cost", "train_accuracy", "test_accuracy"]]
        .swap_dims(run="seed")
        .drop_vars(["run", "pairs"])
        .assign_attrs(known=config.known)
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies along the descent, and the delay against the weight decay."""
    return {
        "delays": plots.after_training(
            dataset.step.values,
            dataset.weight_decay.values,
            train=dataset.train_accuracy.values,
            test=dataset.test_accuracy.values,
            delay=delays(dataset)[1],
            known=dataset.attrs["known"],
        )
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
