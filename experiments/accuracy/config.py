"""Settings of the experiment accuracy."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Config:
    """Training recipes to compare, with their starts and data."""

    data: str = "mnist"  # name of the data set
    # number of training images, taken from the end of the set, that are held out for all
    # comparisons and choices of settings
    held_out: int = 10_000
    epochs: int = 12  # number of passes over the training images in the comparison of variants
    seeds: int = 12  # number of starting points of each training variant, except the slow ones
    # number of starting points of each slow variant (100 epochs, or fresh copies)
    fewer_seeds: int = 4
    # number of starting points for the evaluation on test images; seeds start at 100
    test_seeds: int = 12
    # number of training images on which the cost on the plane and the sharpness of trained networks
    # are computed
    some_images: int = 5000
    points: int = 61  # number of grid points along each side of the plane
    # name of the small data set on which the plain and the quick recipe are compared
    bundled: str = "mnist5k"
    store: Path = Path("runs/accuracy")  # folder of the stored sweeps
