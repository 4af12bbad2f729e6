"""Settings of the experiment loss_landscape."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Settings of the descents, and of the lines and planes around their end points.

    Args:
        data: name of the data set.
        learning_rates: a learning rate that is far too small, a good one, and one far too large.
        epochs: number of passes over the training set.
        batch_size: number of images per step.
        seed: seed of the starting point and of the order of mini-batches in the figures.
        seeds: number of starting points for the statistics.
        direction_seed: seed of the random directions.
        snapshots: approximate number of snapshots of the parameters along the descent.
        points: number of grid points along each side of a plane.
        reach: half the side length of the planes around the end point.
        samples: number of training images, taken from the start of the set; by default all.
    """

    data: str = "mnist5k"
    learning_rates: tuple[float, float, float] = (0.03, 2.0, 30.0)
    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    seeds: int = 16
    direction_seed: int = 0
    snapshots: int = 100
    points: int = 51
    reach: float = 15.0
    samples: int | None = None
