"""Settings of the experiment mode_connectivity."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Networks, and the paths between them."""

    data: str = "mnist5k"  # name of the data set
    # number of training images, taken from the start of the set; by default all
    samples: int | None = None
    widths: tuple[int, ...] = (16, 64, 256)  # number of neurons in each of the two hidden layers
    networks: tuple[int, ...] = (12, 12, 6)  # number of networks of each width
    epochs: int = 15  # number of passes over the training set for the networks
    curve_epochs: int = 15  # number of passes over the training set for the curves
    learning_rate: float = 0.003  # learning rate of Adam, for networks and curves
    batch_size: int = 32  # number of images per step
    points: int = 25  # number of points along each path, including its end points
    nodes: int = 5  # number of quadrature nodes of the mean cost along a curve
    images: int = 1000  # number of training images for the matching by activations
