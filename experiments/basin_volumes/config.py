"""Settings of the experiment basin_volumes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and settings of the measurement of their basins.

    Args:
        images: number of training images.
        hidden: number of neurons in the hidden layer.
        decay: weight decay, which does not apply to biases.
        seeds: number of networks, which differ in their starting points.
        whole: number of networks whose full Hessian is decomposed.
        steps: number of steps of Adam, with cosine decay of the learning rate to 0.
        learning_rate: initial learning rate.
        level: rise of the cost at the boundary of a basin.
        directions: number of directions in which the boundary is searched.
        key: seed of the directions.
    """

    images: int = 500
    hidden: int = 64
    decay: float = 1e-4
    seeds: int = 16
    whole: int = 3
    steps: int = 2000
    learning_rate: float = 0.01
    level: float = 0.01
    directions: int = 64
    key: int = 0
