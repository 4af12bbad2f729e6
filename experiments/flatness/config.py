"""Settings of the experiment flatness."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and measures of their sharpness."""

    data: str = "mnist5k"  # name of a data set of 28x28 digits
    learned: int = 2000  # number of training images; all others are test images
    widths: tuple[int, ...] = (16, 16)  # number of neurons in each hidden layer
    starts: int = 128  # number of starting points
    orders: int = 4  # number of orders of the mini-batches, each combined with every start
    batch_size: int = 32  # number of images per step
    # numbers of passes of sigmoid networks over the training images, one per recipe
    epochs: tuple[int, ...] = (20, 40)
    learning_rate: float = 5.0  # initial learning rate of sigmoid networks, with cosine decay to 0
    relu_epochs: int = 20  # number of passes of ReLU networks over the training images
    # initial learning rate of ReLU networks, with cosine decay to 0
    relu_learning_rate: float = 0.2
    probes: int = 32  # number of Hessian-vector products for each trace
    resamples: int = 10_000  # number of bootstrap resamples
    key: int = 0  # seed of the random probes
