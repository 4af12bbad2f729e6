"""Recipes: settings for training a network on digits.

    w <- w - r_t (grad C_B(w) + d_l w),   r_t: constant, or linear warm-up, then cosine decay to 0

A recipe specifies neither a data set nor a network. The recipes in `RECIPES` were chosen on
held-out training images; `experiments/accuracy` measures the effect of each part.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import optax

from gdjax.base.arguments import check_limits
from gdjax.base.limits import NotNegative, Positive
from gdjax.descent.schedules import WarmupCosine
from gdjax.problems.augmentation import Distortion


@dataclass(frozen=True)
class Recipe:
    """Settings for training a network.

    Args:
        learning_rate: constant learning rate, or its peak if there is a warm-up.
        epochs: number of passes over the images. An epoch has the same number of images with and
            without copies.
        batch_size: number of images per step; None uses all.
        warmup_steps: number of steps of linear warm-up, before a cosine decay to 0; None for a
            constant learning rate.
        decay: weight decay of the first layer: decay * w is added to its gradient.
        decay_behind: weight decay of all other layers.
        distortion: shifts and rotations of the copies of the images; None for no copies.

    Examples:
        >>> print(RECIPES["plain"])
        30 epochs in batches of 32; rate 1; decay 0 in the first layer and 0 in the others
    """

    learning_rate: float
    epochs: int
    batch_size: int | None = 32
    warmup_steps: int | None = None
    decay: float = 0.0
    decay_behind: float = 0.0
    distortion: Distortion | None = None

    def __post_init__(self):
        check_limits("Recipe: learning_rate", self.learning_rate, Positive)
        for name in ("decay", "decay_behind"):
            check_limits(f"Recipe: {name}", getattr(self, name), NotNegative)

    @property
    def copies(self) -> int:
        """Number of copies of each image."""
        return 1 if self.distortion is None else self.distortion.copies

    def __str__(self) -> str:
        """Return the settings as text."""
        rate = f"rate {self.learning_rate:g}"
        if self.warmup_steps is not None:
            rate += f" after {self.warmup_steps} steps of warm-up, then cosine decay to 0"
        copies = ""
        if self.distortion is not None:
            d = self.distortion
            copies = (
                f"; {d.copies} copies of each image, shifted by up to {d.shift:g} pixels and "
                f"rotated by up to {d.max_rotation:g} radians"
            )
        batches = (
            "of full batches" if self.batch_size is None else f"in batches of {self.batch_size}"
        )
        return (
            f"{self.epochs} epoch{'s' * (self.epochs > 1)} {batches}; {rate}; decay {self.decay:g} "
            f"in the first layer and {self.decay_behind:g} in the others{copies}"
        )

    def optimizer(
        self, steps: int, factory: Callable[..., optax.GradientTransformation] = optax.sgd
    ) -> optax.GradientTransformation:
        """Return the optimizer of a descent.

        With weight decay, parameters must be a sequence of layers.

        Args:
            steps: number of steps of the descent; a learning rate with warm-up is zero after the
                last step.
            factory: function that takes a learning rate and returns an optimizer.
        """
        rate: Any = self.learning_rate
        if self.warmup_steps is not None:
            rate = WarmupCosine(rate, min(self.warmup_steps, steps), steps)
        rule = factory(learning_rate=rate)
        if not (self.decay or self.decay_behind):
            return rule
        return optax.chain(decayed_layers(self.decay, self.decay_behind), rule)


def decayed_layers(first: float | int, behind: float | int) -> optax.GradientTransformation:
    """Return a transformation that adds the gradient of 1/2 sum_l d_l |w_l|^2.

        g_l <- g_l + d_l w_l

    Weight decay also applies to biases.

    Examples:
        >>> rule = decayed_layers(0.5, 0.1)
        >>> rule.update((1.0, 1.0, 1.0), rule.init(()), (2.0, 2.0, 3.0))[0]
        (2.0, 1.2, 1.3)
    """

    def mask(is_first):
        return lambda layers: tuple((i == 0) == is_first for i in range(len(layers)))

    return optax.chain(
        optax.add_decayed_weights(first, mask(True)),
        optax.add_decayed_weights(behind, mask(False)),
    )


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "plain": Recipe(learning_rate=1.0, epochs=30),
        "quick": Recipe(
            learning_rate=8.0,
            epochs=30,
            warmup_steps=50,
            decay=1e-4,
            decay_behind=1e-4,
            distortion=Distortion(copies=10, shift=1.0, max_rotation=0.2),
        ),
        "best": Recipe(
            learning_rate=8.0,
            epochs=40,
            warmup_steps=200,
            decay=6e-5,
            decay_behind=1.5e-5,
            distortion=Distortion(copies=10, shift=0.5, max_rotation=0.12),
        ),
    }
)
