"""Former and current public names, so that one script runs at two commits.

The scripts of this folder use the first name of each row. Older commits use one of the other names.
If a public name changes, add the new name in front.

    gd = names.library();   gd.sweep(problem, axes, num_steps, make_optimizer=...)
"""

import contextlib
import functools
import inspect
import operator
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

FUNCTIONS = (
    ("Metric", "Measure"),
    ("zip_axes", "together"),
    ("Outcome", "OUTCOMES"),
    ("curvature", "geometry"),
    ("critical_points", "geometry"),
    ("landscape", "geometry"),
    ("flows", "geometry"),
    ("volumes", "geometry"),
    ("extreme_eigenpairs", "extremes"),
    ("hessian_trace", "trace"),
    ("spectral_density", "density"),
    ("gradient_summary", "anatomy"),
    ("basin_volume", "volumes.volume", "volumes.basin_volume"),
    (
        "finite_temperature_coefficient",
        "learning_coefficient.finite_temperature_coefficient",
        "learning.learning_coefficient",
    ),
    ("linear_path_cost", "straight"),
    ("sharpness_metric", "sharpness"),
    ("largest_eigenvalues_metric", "largest_eigenvalues"),
    ("locate_entries", "locate"),
    ("find_critical_point", "nearest_critical_point"),
    ("local_learning_coefficient", "learning_coefficient.learning_coefficient"),
    ("hessian_whitening", "whitened"),
    ("count_minima", "census"),
    ("count_stored_minima", "census_of"),
    ("count_kinds", "count_end_points"),
    ("cluster_points", "cluster", "groups"),
    ("path_barrier", "barrier"),
    ("classify_end_points", "certify"),
    ("pairwise_barriers", "barriers"),
    ("basins_of_attraction", "basins"),
    ("learning_rate_limits", "stability_limits"),
)
"""Attributes of `gdjax` and its modules; an older name may belong to another module."""

KEYWORDS = (
    ("num_steps", "steps"),
    ("make_optimizer", "optimizer"),
    ("eval_params_fn", "readout"),
    ("metrics", "measures"),
    ("root_seed", "root"),
    ("divergence_threshold", "bound"),
    ("gradient_tolerance", "tolerance"),
    ("distance_tolerance", "tolerance"),
    ("stop_when_converged", "until_settled"),
    ("max_param_bytes", "keep"),
    ("couples_samples", "mixes"),
    ("loss", "cost"),
    ("num_seeds", "seeds"),
    ("model_state", "state"),
    ("num_chains", "chains"),
    ("damping", "floor"),
    ("rtol", "tolerance"),
    ("atol", "tolerance"),
    ("max_steps", "steps", "restarts"),
    ("max_restarts", "max_steps", "restarts"),
    ("num_starts", "restarts", "starts"),
    ("distance_rtol", "distance_tolerance", "tolerance"),
    ("bandwidth", "width"),
)
"""Arguments of public functions."""

DECLARED = (("model_state", "state"), ("opt_state", "memory"))
"""Keywords that a user-defined cost or metric may declare."""

FLAGS = (("--num-steps", "--steps"), ("--root-seed", "--root"))
"""Flags of the commands `sweep`, `train` and `minima`."""

VARIABLES = (
    ("_finished", "finished"),
    ("model_state", "state"),
)
"""Variables of a Dataset, and attributes of a result."""

CARRY = (
    ("carry.state.opt_state", "carry.state.memory"),
    ("carry.state.model_state", "carry.state.state"),
    ("carry.metric_states", "carry.measures"),
    ("carry.batch_cost_sum", "carry.batch_cost"),
    ("carry.batch_count", "carry.batches"),
    ("carry.stopped", "carry.settled"),
)
"""Variables of a continuable sweep."""


def library() -> Any:
    """Return `gdjax` with attributes and arguments under the first name of each row."""
    import gdjax

    return Renamed(gdjax)


class Renamed:
    """Proxy that finds attributes and arguments of a module under former names."""

    def __init__(self, module: ModuleType):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        value = attribute(self._module, name, FUNCTIONS)
        if isinstance(value, ModuleType):
            return Renamed(value)
        return _renamed(value) if callable(value) else value


def attribute(thing: Any, name: str, table: tuple[tuple[str, ...], ...] = VARIABLES) -> Any:
    """Return an attribute, which may have one of its former names."""
    for known in _names(name, table):
        with contextlib.suppress(AttributeError):
            return operator.attrgetter(known)(thing)
    return getattr(thing, name)


def variable(name: str) -> str:
    """Return a variable name whose former prefix is replaced by the current one."""
    for new, old in (*VARIABLES, *CARRY):
        if name == old or name.startswith((f"{old}.", f"{old}[")):
            return new + name[len(old) :]
    return name


def flags(line: str) -> str:
    """Return a command line with the flags of this commit."""
    from gdjax.cli.sweep import Sweep

    if "num_steps" in Sweep.__dataclass_fields__:
        return line
    for new, old in FLAGS:
        line = line.replace(new, old)
    return line


def user(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a user-defined function whose keywords have the names of this commit."""
    parameters = inspect.signature(function).parameters
    here = {name: _declared()[name] for name in parameters if name in _declared()}
    old = {name: key for key, name in here.items()}
    declared = [p.replace(name=here.get(p.name, p.name)) for p in parameters.values()]

    @functools.wraps(function)
    def called(*args, **kwargs):
        return function(*args, **{old.get(name, name): value for name, value in kwargs.items()})

    vars(called)["__signature__"] = inspect.Signature(declared)
    return called


def _names(name, table):
    return next((row for row in table if row[0] == name), (name,))


def _renamed(function):
    if isinstance(function, type) and issubclass(function, BaseException):
        return function

    @functools.wraps(function, updated=())
    def called(*args, **kwargs):
        known = _parameters(function)
        options = {}
        for name, value in kwargs.items():
            here = next((other for other in _names(name, KEYWORDS) if other in known), name)
            options[here] = value
        return function(*args, **options)

    return called


def _parameters(function) -> set[str]:
    """Return the arguments of a function, including those that it passes to a sweep."""
    import gdjax

    parameters: Mapping[str, inspect.Parameter] = inspect.signature(function).parameters
    known = set(parameters)
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        known |= set(inspect.signature(gdjax.sweep).parameters)
    return known


@functools.cache
def _declared() -> dict[str, str]:
    """Return the keywords of costs at this commit, by the first name of each row.

    A sweep with `model_state` fails at commits with former names.
    """
    import gdjax

    def cost(w, *, model_state):
        return w**2, model_state

    try:
        problem = gdjax.Problem(init=lambda key: (0.0, 0.0), cost=cost)
        gdjax.sweep(problem, gdjax.axes(learning_rate=[1.0]), 0)
    except Exception:  # an older commit treats `model_state` as a setting without a value
        return {row[0]: row[-1] for row in DECLARED}
    return {row[0]: row[0] for row in DECLARED}
