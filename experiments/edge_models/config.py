"""Settings of the experiment edge_models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows."""

    rates: tuple[float, ...] = (0.2, 0.3)  # learning rates of the swish network
    width: int = 16  # number of neurons in each hidden layer of the swish network
    samples: int = 128  # number of random samples for the swish network
    steps: int = 400  # number of steps of each descent of the swish network
    digits: int = 100  # number of training images of digits
    digit_rates: tuple[float, ...] = (3.5,)  # learning rates on the digits
    digit_steps: int = 200  # number of steps of each descent on the digits
    image_data: str = "fashion_mnist"  # name of the data set of images
    images: int = 500  # number of training images of this data set
    image_stride: int = 2  # distance between the pixels of these images that are used
    # number of neurons in each hidden layer of the tanh network on these images
    image_widths: tuple[int, ...] = (16, 16)
    # factor of the starting weights; for 1, descent starts far above the edge
    image_init_scale: float = 0.5
    image_rates: tuple[float, ...] = (0.2,)  # learning rates on these images
    image_steps: int = 200  # number of steps of each descent on these images
    starts: int = 8  # number of starting points for each rate
    eigenvectors: int = 4  # maximum number of eigenvalues held at 2 / eta by the central flow
    # number of steps of descent between records, and in an interval of the central flow
    stride: int = 2
    # number of records before and after each one that are searched for the nearest center of
    # descent
    window: int = 5
    # distance of the second start from the first, relative to the norm of the first
    moved: float = 1e-6
    tolerance: float = 1e-4  # relative tolerance of the solver of the flows
    # maximum number of steps of the solver of a rod flow or an edge flow, per step of descent
    solver_steps: int = 10
