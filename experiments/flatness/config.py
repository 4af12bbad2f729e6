"""Settings of the experiment flatness."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and measures of their sharpness.

    Args:
        data: name of a data set of 28x28 digits.
        learned: number of training images; all others are test images.
        widths: number of neurons in each hidden layer.
        starts: number of starting points.
        orders: number of orders of the mini-batches, each combined with every start.
        batch_size: number of images per step.
        epochs: numbers of passes of sigmoid networks over the training images, one per recipe.
        learning_rate: initial learning rate of sigmoid networks, with cosine decay to 0.
        relu_epochs: number of passes of ReLU networks over the training images.
        relu_learning_rate: initial learning rate of ReLU networks, with cosine decay to 0.
        probes: number of Hessian-vector products for each trace.
        resamples: number of bootstrap resamples.
        key: seed of the random probes.
    """

    data: str = "mnist5k"
    learned: int = 2000
    widths: tuple[int, ...] = (16, 16)
    starts: int = 128
    orders: int = 4
    batch_size: int = 32
    epochs: tuple[int, ...] = (20, 40)
    learning_rate: float = 5.0
    relu_epochs: int = 20
    relu_learning_rate: float = 0.2
    probes: int = 32
    resamples: int = 10_000
    key: int = 0
