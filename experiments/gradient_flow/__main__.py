"""What is the limit of gradient descent for small steps, and how far from it are finite steps?

    dw/dt = -grad C(w)   against   w_{k+1} = w_k - eta grad C(w_k),   compared at t = eta k

    python -m experiments.gradient_flow           (about 40 s on two cores)

Expected: if the learning rate is halved, the distance from the flow (order 1 within 0.1) and the
drift of a^2 - b^2 along descents are also halved; the error of the computed flow is below 1e-8 on
the two factors.
"""

import jax
import xarray as xr

from experiments.shared import command
from experiments.shared.trees import tree_of

from . import figures
from .config import Config
from .model import digits, factors
from .summary import numbers


def run(config: Config) -> xr.DataTree:
    """Return a tree with the comparisons of each case."""
    with jax.enable_x64(True):
        equal, unequal = factors(config)
        parts = {"equal": equal, "unequal": unequal, "digits": digits(config)}
    return tree_of(parts, fitted=config.fitted, unequal=list(config.unequal))


def plot(tree: xr.DataTree) -> dict:
    """Draw descents, their distances from the flow, and the orders, for both costs."""
    return {"from_flow": figures.from_flow(tree)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
