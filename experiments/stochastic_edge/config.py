"""Settings of the experiment stochastic_edge."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded."""

    rates: tuple[float, ...] = (0.13, 0.2)  # learning rates of the swish networks
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)  # numbers of samples per step
    starts: int = 6  # number of starting points for each rate and batch size
    orders: int = 2  # number of orders of mini-batches for each start
    width: int = 16  # number of neurons in each hidden layer
    samples: int = 128  # number of training samples
    steps: int = 4000  # number of steps of each descent
    records: int = 40  # number of records of each descent
    batches: int = 16  # number of mini-batches for each estimate of the batch sharpness
    tolerance: float = 0.02  # relative tolerance of the computed sharpness
    rate: float = 0.13  # learning rate of all other measurements on these networks, one of `rates`
    # number of consecutive steps over which the oscillation is averaged, for one order
    window: int = 512
    # numbers of samples per step of descents with copies or with noise in the targets
    sizes: tuple[int, ...] = (64,)
    copies: tuple[int, ...] = (1, 2, 8)  # numbers of copies of each sample in a pass
    noises: tuple[float, ...] = (0.0, 0.03, 0.1)  # standard deviations of the noise in the targets
    stride: int = 4  # number of steps of descent per interval of the central flow
    points: int = 4  # number of points of the central flow at which forces are computed
    images: int = 5000  # number of training images
    # number of neurons in each hidden layer of the network on images
    image_widths: tuple[int, ...] = (16,)
    image_sizes: tuple[int, ...] = (250, 1000, 2500)  # numbers of images per step
    image_rate: float = 0.05  # learning rate on images
    image_steps: int = 1000  # number of steps of each descent on images
    image_records: int = 20  # number of records of each descent on images
