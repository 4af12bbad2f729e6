"""Coordinate check: change of activations in the first steps, by width.

    change_l(n, t) = rms over samples and neurons of h_l(w_t) - h_l(w_0),   width n
    slope_l(t)     = d log change_l / d log n

If the best learning rate of a parametrization is independent of the width, the change of each layer
does not depend on the width, and the slope is 0. With a positive slope, wide networks become
unstable at a learning rate that is suitable for narrow ones. With a negative slope, the change of a
layer decreases to 0 as the width increases.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import Float, PyTree
from scipy import stats

from gdjax.base.arguments import MAX_COUNT, check_callable, check_increasing, check_whole
from gdjax.base.errors import InputError
from gdjax.base.statistics import LEVEL
from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem, require_problem
from gdjax.sweeps.axes import axes
from gdjax.sweeps.continued.concat import concat
from gdjax.sweeps.dataset import named_leaves
from gdjax.sweeps.sweep import sweep

CHANGE = "change"


def coordinate_check(
    problems: Mapping[str, Problem | tuple[Problem, Mapping[str, Any]]],
    activations: Callable[[PyTree, PyTree], PyTree],
    *,
    learning_rate: float,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    steps: Sequence[int] = (1, 10, 100),
    samples: int = 64,
    num_seeds: int = 8,
    root_seed: int = 0,
) -> xr.Dataset:
    """Return the change of each layer's activations in the first steps, by width.

    Args:
        problems: problems by width, at least two: `{"16": problem(16), "64": problem(64)}`. A
            value may be `(Problem, {keyword of sweep: value})`, such as a `make_optimizer` with
            learning rates per layer.
        activations: function `activations(params, batch)` that returns the activations of the
            layers for the rows of a batch, such as a dict of arrays [samples, neurons] by name. All
            widths have the same layers.
        learning_rate: learning rate at all widths.
        make_optimizer: optimizer factory, as in `sweep`.
        batch_size: number of samples per step; None for the whole training set.
        steps: steps after which to measure the change, ascending.
        samples: number of samples at which activations are evaluated; the first ones in the data
            are used.
        num_seeds: number of starting points, at least 2.
        root_seed: seed of the whole study.

    Returns:
        Dataset with `change` (layer, step, width, seed), and `slope`, `slope_low` and `slope_high`
        (layer, step): the mean over seeds of the slope of log change against log width, with
        Student's 95 % confidence interval. The slope is NaN if a change is 0 or a run diverged.

    Examples:
        One step of sign descent changes the activations of the first layer of a linear network by
        eta |x|_1 at every width:

        >>> import jax, jax.numpy as jnp, optax
        >>> def linear(n):
        ...     init = lambda key: [jax.random.normal(key, (n, 2)), jnp.ones((1, n)) / n]
        ...     def cost(w, batch):
        ...         return jnp.mean((batch[0] @ w[0].T @ w[1].T - batch[1]) ** 2)
        ...     data = jnp.array([[1.0, -2.0]]), jnp.ones((1, 1))
        ...     return Problem(init=init, cost=cost, data=data)
        >>> result = coordinate_check(
        ...     {"8": linear(8), "16": linear(16)},
        ...     lambda w, batch: {"hidden": batch[0] @ w[0].T},
        ...     learning_rate=0.1, make_optimizer=optax.sign_sgd, steps=(1,), num_seeds=2)
        >>> result.change.sel(layer="hidden", step=1).values.round(6).tolist()
        [[0.3, 0.3], [0.3, 0.3]]
        >>> abs(round(float(result.slope.sel(layer="hidden", step=1)), 4))
        0.0

        References: Yang et al. 2022, *Tensor Programs V*, arXiv 2203.03466, appendix D.1.
    """
    widths = _check_widths(problems)
    check_callable("coordinate_check: activations", activations, "activations(params, batch)")
    listed = check_increasing("coordinate_check: steps", steps)
    check_whole("coordinate_check: samples", samples, 1, MAX_COUNT)
    check_whole("coordinate_check: num_seeds", num_seeds, 2, MAX_COUNT)
    shared = {
        "make_optimizer": make_optimizer,
        "batch_size": batch_size,
        "record_every": math.gcd(*listed),
        "root_seed": root_seed,
    }
    grid = axes(learning_rate=[learning_rate], seed=range(num_seeds))
    measured, first = {}, None
    for name, value in problems.items():
        problem, options = value if isinstance(value, tuple) else (value, {})
        require_problem(problem, f"problems[{name!r}]")
        batch = jax.tree.map(lambda a: a[:samples], problem.data)
        layers = _layers(problem, activations, batch, name)
        first = first or layers
        if layers != first:
            raise InputError(
                f"coordinate_check: activations returned {layers!r:.80} for {name!r}, expected the "
                f"layers of the first width, {first!r:.80}"
            )
        metric = Metric(_Change(activations), data=batch, dims=("layer",))
        measured[name] = problem, {**shared, **options, "metrics": {CHANGE: metric}}
    sweeps = {
        name: sweep(problem, grid, listed[-1], **options)
        for name, (problem, options) in measured.items()
    }
    runs = concat(sweeps, "width").isel(learning_rate=0, drop=True).sel(step=listed)
    # A metric of a diverged run is that of its last finite parameters.
    change = runs[CHANGE].where(np.isfinite(runs["cost"]))
    change = change.transpose("layer", "step", "width", "seed")
    change = change.assign_coords(layer=first, width=widths)
    change.attrs = {"long_name": "change of the activations, root mean square", "units": "1"}
    result = xr.Dataset({CHANGE: change}, attrs={"result": "coordinate_check"})
    for name, values in _slopes(np.array(widths, float), change.values).items():
        result[name] = (("layer", "step"), values)
    return result


def _check_widths(problems):
    """Check that the names of the problems are widths, and return the widths."""
    names = list(problems) if isinstance(problems, Mapping) else []
    widths = [int(n) for n in names if isinstance(n, str) and n.isdecimal() and int(n) > 0]
    if len(names) < 2 or len({*widths}) < len(names):
        raise InputError(
            f"coordinate_check: problems = {names or problems!r:.80}, expected a dict whose keys "
            f"are at least two widths, such as {{'16': problem(16), '64': problem(64)}}"
        )
    return widths


def _layers(problem, activations, batch, width):
    """Return the names of the layers of a problem."""

    def start(key, batch):
        return activations(problem.begin(key)[0], batch)

    layers = named_leaves("", jax.eval_shape(start, jax.random.key(0), batch))
    if not layers or not all(getattr(array, "size", 0) for array in layers.values()):
        raise InputError(
            f"coordinate_check: activations returned {layers!r:.80} for {width!r}, expected one "
            f"array per layer, such as a dict of arrays [samples, neurons]"
        )
    return list(layers)


class _Change(NamedTuple):
    """Measurement of the change of the activations of each layer since the start."""

    activations: Callable[..., Any]

    def init(self, problem, params):
        return self.activations(params, problem.data)

    def __call__(self, problem, params, start):
        def rms(now, then):
            return jnp.sqrt(jnp.mean(jnp.square(now - then)))

        changes = jax.tree.map(rms, self.activations(params, problem.data), start)
        return jnp.stack(jax.tree.leaves(changes)), start


def _slopes(
    widths: Float[np.ndarray, " widths"], change: Float[np.ndarray, "layers steps widths seeds"]
) -> dict[str, Float[np.ndarray, "layers steps"]]:
    """Return the mean log-log slope over seeds, with its confidence interval."""
    x = np.log(widths) - np.mean(np.log(widths))
    y = np.log(np.where(change > 0, change, np.nan))
    slope = np.einsum("w,lswi->lsi", x, y) / np.sum(x**2)
    count = slope.shape[-1]
    mean = slope.mean(-1)
    reach = stats.t.isf((1 - LEVEL) / 2, count - 1) * slope.std(-1, ddof=1) / math.sqrt(count)
    return {"slope": mean, "slope_low": mean - reach, "slope_high": mean + reach}
