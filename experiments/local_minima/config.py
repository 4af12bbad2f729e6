"""Settings of the experiment local_minima."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training."""

    seeds: int = 32  # number of starting points of each digit network
    hidden: tuple[int, ...] = (2,)  # numbers of hidden neurons of the XOR networks
    # weight decays of the XOR networks; each has a separate census
    xor_decay: tuple[float, ...] = (0.0, 1e-4)
    xor_steps: int = 5_000  # number of descent steps of the XOR networks
    xor_rate: float = 2.0  # learning rate of the XOR networks
    xor_scale: float = 3.0  # standard deviation of the starting weights and biases
    xor_seeds: int = 150  # number of starting points of each XOR network
    data: str = "mnist5k"  # name of the data set of the digits
    pooled_images: int = 0  # number of training images of 10x10 digits; 0 omits this case
    # number of neurons in each hidden layer for the 10x10 digits
    pooled_hidden: tuple[int, ...] = (8,)
    images: int = 100  # number of training images of 28x28 digits; 0 omits this case
    # number of neurons in each hidden layer for the 28x28 digits
    widths: tuple[int, ...] = (16, 16)
    decay: float = 1e-3  # weight decay of the digit networks
    steps: int = 5000  # number of descent steps of the digit networks
    learning_rate: float = 3.0  # learning rate of the digit networks, with momentum
    momentum: float = 0.9  # coefficient of heavy-ball momentum
    polishing: int = 100  # maximum number of Newton steps in polishing an end point
    key: int = 0  # seed of the random probes and of the matching of neurons
