"""Settings of the experiment edge_models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows.

    Args:
        rates: learning rates of the swish network.
        width: number of neurons in each hidden layer of the swish network.
        samples: number of random samples for the swish network.
        steps: number of steps of each descent of the swish network.
        digits: number of training images of digits.
        digit_rates: learning rates on the digits.
        digit_steps: number of steps of each descent on the digits.
        image_data: name of the data set of images.
        images: number of training images of this data set.
        image_stride: distance between the pixels of these images that are used.
        image_widths: number of neurons in each hidden layer of the tanh network on these images.
        image_init_scale: factor of the starting weights; for 1, descent starts far above the edge.
        image_rates: learning rates on these images.
        image_steps: number of steps of each descent on these images.
        starts: number of starting points for each rate.
        eigenvectors: maximum number of eigenvalues held at 2 / eta by the central flow.
        stride: number of steps of descent between records, and in an interval of the central flow.
        window: number of records before and after each one that are searched for the nearest center
            of descent.
        moved: distance of the second start from the first, relative to the norm of the first.
        tolerance: relative tolerance of the solver of the flows.
        solver_steps: maximum number of steps of the solver of a rod flow or an edge flow, per step
            of descent.
    """

    rates: tuple[float, ...] = (0.2, 0.3)
    width: int = 16
    samples: int = 128
    steps: int = 400
    digits: int = 100
    digit_rates: tuple[float, ...] = (3.5,)
    digit_steps: int = 200
    image_data: str = "fashion_mnist"
    images: int = 500
    image_stride: int = 2
    image_widths: tuple[int, ...] = (16, 16)
    image_init_scale: float = 0.5
    image_rates: tuple[float, ...] = (0.2,)
    image_steps: int = 200
    starts: int = 8
    eigenvectors: int = 4
    stride: int = 2
    window: int = 5
    moved: float = 1e-6
    tolerance: float = 1e-4
    solver_steps: int = 10
