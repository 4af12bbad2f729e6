"""Settings of the experiment smoothness."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Temperatures of the network, and settings of its training."""

    data: str = "mnist5k"  # name of the data set
    # temperatures of training, highest first; powers of 2 make scaled starts exact
    temperatures: tuple[float, ...] = (*(2.0**-k for k in range(7)), 2.0**-8, 2.0**-10, 0.0)
    # learning rates to try at every temperature
    learning_rates: tuple[float, ...] = tuple(float(10 ** (k / 2)) for k in range(-8, 3))
    scaled_rate: float = 3.0  # learning rate of the scaled starts, in units of temperature squared
    seeds: int = 8  # number of starting points
    epochs: int = 5  # number of passes over the training set
    batch_size: int = 32  # number of images per step
    # temperatures at which gradients are computed before training
    looked_at: tuple[float, ...] = (*(float(10 ** (-k / 4)) for k in range(-4, 21)), 0.0)
    images: int = 500  # number of single images whose gradients are computed
    # temperatures at which the cost along one weight is computed
    drawn: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.0)
    # number of images over which the cost along one weight is averaged; with few images, its single
    # steps are visible
    along: int = 30
