"""Settings of the experiment mode_connectivity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and the paths between them.

    Args:
        data: name of the data set.
        samples: number of training images, taken from the start of the set; by default all.
        widths: number of neurons in each of the two hidden layers.
        networks: number of networks of each width.
        epochs: number of passes over the training set for the networks.
        curve_epochs: number of passes over the training set for the curves.
        learning_rate: learning rate of Adam, for networks and curves.
        batch_size: number of images per step.
        points: number of points along each path, including its end points.
        nodes: number of quadrature nodes of the mean cost along a curve.
        images: number of training images for the matching by activations.
    """

    data: str = "mnist5k"
    samples: int | None = None
    widths: tuple[int, ...] = (16, 64, 256)
    networks: tuple[int, ...] = (12, 12, 6)
    epochs: int = 15
    curve_epochs: int = 15
    learning_rate: float = 0.003
    batch_size: int = 32
    points: int = 25
    nodes: int = 5
    images: int = 1000
