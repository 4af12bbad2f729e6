"""Settings of the experiment gradient_anatomy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Network, and the epochs after which its gradient is examined.

    Args:
        data: name of the data set.
        widths: number of neurons in each hidden layer.
        epochs: numbers of epochs after which the gradient is examined, ascending.
        learning_rate: learning rate of the training between these epochs.
        batch_size: number of images per training step; the examined gradient is over all images.
        top: number of largest entries that are listed and checked.
        seed: seed of the starting point in the figures.
        seeds: number of starting points for the statistics.
    """

    data: str = "mnist5k"
    widths: tuple[int, ...] = (16, 16)
    epochs: tuple[int, ...] = (0, 30)
    learning_rate: float = 1.0
    batch_size: int = 32
    top: int = 20
    seed: int = 0
    seeds: int = 16
