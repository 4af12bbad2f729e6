"""Settings of the experiment stochastic_edge."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded.

    Args:
        rates: learning rates of the swish networks.
        batch_sizes: numbers of samples per step.
        starts: number of starting points for each rate and batch size.
        orders: number of orders of mini-batches for each start.
        width: number of neurons in each hidden layer.
        samples: number of training samples.
        steps: number of steps of each descent.
        records: number of records of each descent.
        batches: number of mini-batches for each estimate of the batch sharpness.
        tolerance: relative tolerance of the computed sharpness.
        rate: learning rate of all other measurements on these networks, one of `rates`.
        window: number of consecutive steps over which the oscillation is averaged, for one order.
        sizes: numbers of samples per step of descents with copies or with noise in the targets.
        copies: numbers of copies of each sample in a pass.
        noises: standard deviations of the noise in the targets.
        stride: number of steps of descent per interval of the central flow.
        points: number of points of the central flow at which forces are computed.
        images: number of training images.
        image_widths: number of neurons in each hidden layer of the network on images.
        image_sizes: numbers of images per step.
        image_rate: learning rate on images.
        image_steps: number of steps of each descent on images.
        image_records: number of records of each descent on images.
    """

    rates: tuple[float, ...] = (0.13, 0.2)
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)
    starts: int = 6
    orders: int = 2
    width: int = 16
    samples: int = 128
    steps: int = 4000
    records: int = 40
    batches: int = 16
    tolerance: float = 0.02
    rate: float = 0.13
    window: int = 512
    sizes: tuple[int, ...] = (64,)
    copies: tuple[int, ...] = (1, 2, 8)
    noises: tuple[float, ...] = (0.0, 0.03, 0.1)
    stride: int = 4
    points: int = 4
    images: int = 5000
    image_widths: tuple[int, ...] = (16,)
    image_sizes: tuple[int, ...] = (250, 1000, 2500)
    image_rate: float = 0.05
    image_steps: int = 1000
    image_records: int = 20
