"""Settings of the experiment local_minima."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and settings of their training.

    Args:
        seeds: number of starting points of each digit network.
        hidden: numbers of hidden neurons of the XOR networks.
        xor_decay: weight decays of the XOR networks; each has a separate census.
        xor_steps: number of descent steps of the XOR networks.
        xor_rate: learning rate of the XOR networks.
        xor_scale: standard deviation of the starting weights and biases.
        xor_seeds: number of starting points of each XOR network.
        data: name of the data set of the digits.
        pooled_images: number of training images of 10x10 digits; 0 omits this case.
        pooled_hidden: number of neurons in each hidden layer for the 10x10 digits.
        images: number of training images of 28x28 digits; 0 omits this case.
        widths: number of neurons in each hidden layer for the 28x28 digits.
        decay: weight decay of the digit networks.
        steps: number of descent steps of the digit networks.
        learning_rate: learning rate of the digit networks, with momentum.
        momentum: coefficient of heavy-ball momentum.
        polishing: maximum number of Newton steps in polishing an end point.
        key: seed of the random probes and of the matching of neurons.
    """

    seeds: int = 32
    hidden: tuple[int, ...] = (2,)
    xor_decay: tuple[float, ...] = (0.0, 1e-4)
    xor_steps: int = 5_000
    xor_rate: float = 2.0
    xor_scale: float = 3.0
    xor_seeds: int = 150
    data: str = "mnist5k"
    pooled_images: int = 0
    pooled_hidden: tuple[int, ...] = (8,)
    images: int = 100
    widths: tuple[int, ...] = (16, 16)
    decay: float = 1e-3
    steps: int = 5000
    learning_rate: float = 3.0
    momentum: float = 0.9
    polishing: int = 100
    key: int = 0
