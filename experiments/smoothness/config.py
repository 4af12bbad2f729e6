"""Settings of the experiment smoothness."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Temperatures of the network, and settings of its training.

    Args:
        data: name of the data set.
        temperatures: temperatures of training, highest first; powers of 2 make scaled starts exact.
        learning_rates: learning rates to try at every temperature.
        scaled_rate: learning rate of the scaled starts, in units of temperature squared.
        seeds: number of starting points.
        epochs: number of passes over the training set.
        batch_size: number of images per step.
        looked_at: temperatures at which gradients are computed before training.
        images: number of single images whose gradients are computed.
        drawn: temperatures at which the cost along one weight is computed.
        along: number of images over which the cost along one weight is averaged; with few images,
            its single steps are visible.
    """

    data: str = "mnist5k"
    temperatures: tuple[float, ...] = (*(2.0**-k for k in range(7)), 2.0**-8, 2.0**-10, 0.0)
    learning_rates: tuple[float, ...] = tuple(float(10 ** (k / 2)) for k in range(-8, 3))
    scaled_rate: float = 3.0
    seeds: int = 8
    epochs: int = 5
    batch_size: int = 32
    looked_at: tuple[float, ...] = (*(float(10 ** (-k / 4)) for k in range(-4, 21)), 0.0)
    images: int = 500
    drawn: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.0)
    along: int = 30
