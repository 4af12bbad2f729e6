"""How sharp does the cost become during descent, and how does the learning rate limit that?

    sharpness = largest eigenvalue of the Hessian;   descent on a quadratic cost is stable
    below a limit: 2 / eta without momentum, (2 + 2b) / eta with heavy-ball momentum b,
    (2 + 2b) / ((1 + 2b) eta) with Nesterov's momentum b

    python -m experiments.edge_of_stability           (about 2.5 min of processor time)

Expected: on the Chebyshev points the sharpness rises to the limit for every rate whose limit it can
reach, and remains within 2 % of the limit (medians over the last quarter of the records), while the
cost continues to decrease, though not monotonically. On 1,000 digits the sharpness later falls far
below its limit; with tangents as outputs it remains at the limit. The explanation by bounded
outputs is refuted if the sharpness falls as far with tangents, that is, if the interval of the
difference, paired over starts, contains 0.
"""

from functools import partial

import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.regressions import chebyshev
from experiments.shared.trees import datasets, tree_of

from . import figures
from .config import Config
from .model import sharpness_records, tangent_outputs
from .summary import numbers


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each panel."""
    small, digits = chebyshev(), gd.problems.digits(config.data, samples=config.samples)
    momentum = partial(optax.sgd, momentum=config.momentum)
    small_momentum = (config.seeds, config.momentum_steps)
    of_digits = (config.digit_rates, config.digit_seeds, config.digit_steps, optax.sgd)
    panels = {
        "plain": (small, config.rates, config.seeds, config.steps, optax.sgd),
        "heavy": (small, config.heavy_rates, *small_momentum, momentum),
        "nesterov": (
            small,
            config.nesterov_rates,
            *small_momentum,
            partial(momentum, nesterov=True),
        ),
        "digits": (digits, *of_digits),
        "tangent": (tangent_outputs(digits), *of_digits),
    }
    records = {name: sharpness_records(config, *panel) for name, panel in panels.items()}
    return tree_of(records, momentum=config.momentum)


def plot(tree: xr.DataTree) -> dict:
    """Draw the panels of the Chebyshev points and of the digits, for the first start."""
    beta = tree.attrs["momentum"]
    titles = {
        "plain": "Plain descent: limit 2/η",
        "heavy": f"Heavy ball {beta:g}: {2 + 2 * beta:.3g}/η",
        "nesterov": f"Nesterov {beta:g}: {(2 + 2 * beta) / (1 + 2 * beta):.3g}/η",
        "digits": "Digit network, full batch: limit 2/η",
        "tangent": "Outputs 1/2 + z/4: limit 2/η",
    }
    panels = {name: (title, datasets(tree)[name].isel(seed=0)) for name, title in titles.items()}
    return {
        "chebyshev": figures.edge(dict([panels["plain"], panels["heavy"], panels["nesterov"]])),
        "digits": figures.edge(dict([panels["digits"], panels["tangent"]])),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
