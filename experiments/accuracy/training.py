"""Training variants of the digit network: cumulative changes, and single changes.

    ladder: base | change 1 | changes 1 and 2 | ...      single changes: one variant and one change

>>> list(ladder(12))[-2:]
['distorted copies', 'longer']
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.problems import Distortion
from gdjax.problems.losses import targets_for


class Variant(NamedTuple):
    """A training variant: a recipe, an optimizer, and targets of the outputs.

    Args:
        recipe: learning rate, batch size, weight decay, distortion and number of epochs.
        rule: optimizer factory whose argument is the learning rate.
        targets: target values of the outputs of the incorrect classes and of the correct class.
        fresh: whether to distort the images at every step instead of once before training.
        against: name of the variant of the ladder with which this variant is compared.
        long: whether fewer starts are used, since a run takes a long time.
    """

    recipe: Recipe
    rule: Callable[..., optax.GradientTransformation] = optax.sgd
    targets: tuple[float, float] = (0.0, 1.0)
    fresh: bool = False
    against: str = "distorted copies"
    long: bool = False


def ladder(epochs: int) -> dict[str, Variant]:
    """Return training variants, each of which adds one change to the previous one."""
    best = RECIPES["best"]
    distorted = dataclasses.replace(best, epochs=epochs)
    by_layer = dataclasses.replace(distorted, distortion=None)
    decayed = dataclasses.replace(by_layer, decay=5e-5, decay_behind=5e-5)
    annealed = Recipe(learning_rate=2.0, epochs=epochs, warmup_steps=best.warmup_steps)
    plain = dataclasses.replace(RECIPES["plain"], epochs=epochs)
    large = dataclasses.replace(plain, batch_size=128, learning_rate=4.0)
    rungs = {
        "batches of 128": large,
        "plain": plain,
        "annealed": annealed,
        "decayed": decayed,
        "pixels decayed more": by_layer,
        "distorted copies": distorted,
        "longer": best,
    }
    return {name: Variant(recipe) for name, recipe in rungs.items()}


def single_changes(epochs: int) -> dict[str, Variant]:
    """Return variants that differ from "distorted copies" or "longer" in one change."""
    best = RECIPES["best"]
    base = dataclasses.replace(best, epochs=epochs)

    def batches(size, rate, warmup_steps):
        return Variant(
            dataclasses.replace(
                base, batch_size=size, learning_rate=rate, warmup_steps=warmup_steps
            )
        )

    slow = dataclasses.replace(base, learning_rate=base.learning_rate / 10)
    adam = dataclasses.replace(base, learning_rate=0.01, decay=0.0, decay_behind=0.0)
    wider = dataclasses.replace(base, distortion=Distortion(shift=1.0, turn=0.24))
    return {
        "batches of 16": batches(16, 4.0, 400),
        "batches of 64": batches(64, 12.0, 400),
        "batches of 128, rate 24": batches(128, 24.0, 50),
        "targets 0.05 and 0.95": Variant(base, targets=(0.05, 0.95)),
        "targets -0.05 and 1.05": Variant(base, targets=(-0.05, 1.05)),
        "labels smoothed by 0.1": Variant(base, targets=(0.01, 0.91)),
        "momentum 0.9": Variant(slow, _heavy_ball),
        "Adam": Variant(adam, optax.adam),
        "twice the distortion": Variant(wider),
        "fresh copies": Variant(base, fresh=True, long=True),
        "100 epochs": Variant(dataclasses.replace(best, epochs=100), against="longer", long=True),
    }


def _heavy_ball(learning_rate):
    return optax.sgd(learning_rate, momentum=0.9)


def quadratic_with_targets(off: float, on: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Return the squared-error loss with target `on` for the label, `off` elsewhere."""
    return lambda outputs, labels: jnp.sum(
        (outputs - off - (on - off) * targets_for(outputs, labels)) ** 2, axis=-1
    )
