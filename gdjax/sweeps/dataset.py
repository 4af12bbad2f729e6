"""Arrays of a sweep: names, dimensions, types and units.

    cost[axes, step],   outcome[axes],   params.0.weights[axes, 0.weights[0], 0.weights[1]]

The name of a parameter is its path in the pytree:

>>> named_leaves("params", {"a": [1.0, 2.0]})
{'params.a.0': 1.0, 'params.a.1': 2.0}
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int, PyTree

from gdjax.base.errors import InputError
from gdjax.descent.block_loop import RecordSchedule
from gdjax.descent.outcome import Outcome
from gdjax.problems.metrics import named_parts

LONG_NAMES = {
    "cost": "cost over the whole training set",
    "batch_cost": "mean cost of the steps since the previous record",
    "gradient_norm": "norm of the recorded cost's gradient",
}
RESERVED = (*LONG_NAMES, "outcome", "diverged_at", "finished", "step", "snapshot_step")
# prefixes of the names of pytree leaves
PREFIXES = ("params", "model_state", "snapshots", "snapshot_model_state", "carry")
OF_COST = "keyword of the cost"  # comment of coordinates, whose values have different costs
KNOWN = "_known"  # suffix of the name of a metric's mask


def known_masks(
    array_metrics: Mapping[str, PyTree],
    schedule: RecordSchedule,
    diverged_at: Int[np.ndarray, " runs"],
    first_record: int = 0,
) -> dict[str, Bool[np.ndarray, "runs records"]]:
    """Return masks for metrics whose type has no NaN: True before a run diverges."""
    masks, steps = {}, schedule.recorded_steps()
    steps = steps[steps >= first_record]
    for metric, value in array_metrics.items():
        for name, part in named_parts(metric, value).items():
            if part.dtype.kind != "f":
                before = steps[schedule.is_kept(metric, steps)] < diverged_at[:, None]
                masks[name + KNOWN] = before | (diverged_at < 0)[:, None]
    return masks


def pad_before(array: np.ndarray, shape: Sequence[int], fill: Any) -> np.ndarray:
    """Return an array with fill values prepended to reach a trailing shape."""
    inner = array.shape[array.ndim - len(shape) :]
    if inner == tuple(shape):
        return array
    before = [(0, 0)] * (array.ndim - len(shape))
    before += [(size - length, 0) for size, length in zip(shape, inner, strict=True)]
    return np.pad(array, before, constant_values=fill)


def named_leaves(prefix: str, tree: PyTree) -> dict[str, Any]:
    """Return the leaves of a pytree by name: the keys of their path, joined by dots.

    Names are valid file names, also on case-insensitive file systems. Characters other than
    letters, digits, `_` and `-` are written as `%` and two hexadecimal digits per byte, and so are
    capitals in names that would otherwise differ only by case. Different paths have different
    names.

    Examples:
        >>> named_leaves("params", {"mlp/~/linear_0": {"w": 1.0, "b": 2.0}})
        {'params.mlp%2f%7e%2flinear_0.b': 2.0, 'params.mlp%2f%7e%2flinear_0.w': 1.0}
        >>> named_leaves("params", {"W": 1.0, "w": 2.0, "Dense_0": 3.0})
        {'params.Dense_0': 3.0, 'params.%57': 1.0, 'params.w': 2.0}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    plain = [_name(prefix, path, _UNSAFE) for path, _ in leaves]
    times = Counter(name.lower() for name in plain)
    return {
        name if times[name.lower()] == 1 else _name(prefix, path, _UNSAFE_OR_CAPITAL): leaf
        for name, (path, leaf) in zip(plain, leaves, strict=True)
    }


_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_UNSAFE_OR_CAPITAL = re.compile(r"[^a-z0-9_-]")


def stored_name(name: str, *, params_are_final: bool) -> str:
    """Return the name of the stored array that equals an array of the carry.

    The stored carry is that before the last evaluation. Its model state and parameters are the
    final ones, which are stored only once, unless there are separate evaluation parameters.

    Examples:
        >>> stored_name("carry.state.params.weights", params_are_final=True)
        'params.weights'
        >>> stored_name("carry.state.params.weights", params_are_final=False)
        'carry.state.params.weights'
    """
    final = ("model_state", "params") if params_are_final else ("model_state",)
    inner = name.removeprefix("carry.state.")
    return inner if inner != name and inner.split(".")[0] in final else name


def _hexadecimal(match):
    return "".join(f"%{byte:02x}" for byte in match[0].encode(errors="surrogatepass"))


def _name(prefix, path, escaped):
    """Return the name of a path; an empty key becomes `%`."""
    keys = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    coded = [escaped.sub(_hexadecimal, key) for key in keys]
    return ".".join([*filter(None, [prefix]), *(key or "%" for key in coded)])


def from_named(prefix: str, like: PyTree, stored: Any) -> PyTree:
    """Return a pytree from arrays named by `named_leaves`; leading axes are kept.

    Args:
        prefix: prefix of the names, as in `named_leaves`.
        like: pytree of arrays, or of their shapes, with the same structure.
        stored: arrays by name, as a mapping, a Dataset of one run, or an opened `.npz` file.

    Examples:
        >>> from_named("params", {"a": np.zeros(2)}, {"params.a": [[1, 2]]})["a"].tolist()
        [[1.0, 2.0]]
    """
    leaves = []
    for name, leaf in named_leaves(prefix, like).items():
        expected = np.shape(leaf)
        values = np.asarray(stored[name]) if name in stored else None
        if values is None or values.shape[values.ndim - len(expected) :] != expected:
            problem = "is missing" if values is None else f"has shape {values.shape}"
            raise InputError(
                f"{name} {problem}, expected an array of shape {expected}; pass parameters of the "
                f"same problem"
            )
        leaves.append(jnp.asarray(values, jnp.result_type(leaf)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def cost_settings(runs: Any) -> dict[str, Any]:
    """Return the keywords of the cost that a Dataset sweeps and that all its runs share."""
    return {name: one[0] for name, one in _values_of_cost(runs).items() if len(one) == 1}


def check_equal_costs(metric: str, *runs: Any) -> None:
    """Check that the runs of Datasets that are compared by their cost minimize the same cost."""
    values: dict[str, set] = {}
    for part in runs:
        for name, one in _values_of_cost(part).items():
            values.setdefault(name, set()).update(one)
    varied = [name for name, one in values.items() if len(one) > 1]
    if metric == "cost" and varied:
        raise InputError(
            f"metric = 'cost': the cost depends on {varied[0]}, which differs between the runs, so "
            f"that lower does not mean better; choose a metric that does not depend on it, such "
            f"as an accuracy, or select one value of {varied[0]}"
        )


def check_last_records(metric: str, runs: Any) -> None:
    """Check that all runs are finished, and that runs that did not diverge have a last record."""
    outcome, last = runs["outcome"], runs[metric]
    last = last.isel(step=-1) if "step" in last.dims else last
    if unfinished := int((outcome < 0).sum()):
        raise InputError(
            f"runs: {unfinished} of {outcome.size} runs are not finished; finish them with "
            f"gd.resume, or select finished runs"
        )
    if missing := int((last.isnull() & (outcome != Outcome.DIVERGED)).sum()):
        raise InputError(
            f"metric: the last record of {metric} is NaN in {missing} of {outcome.size} runs; "
            f"choose a metric that is recorded at the last step, and runs that no search has ended "
            f"early"
        )


def _values_of_cost(runs):
    return {
        str(name).rpartition(".")[2]: np.unique(coord.values).tolist()
        for name, coord in runs.coords.items()
        if coord.attrs.get("comment") == OF_COST
    }


def as_numbers(array: Any) -> Any:
    """Return an array unchanged, or the key data of a random key."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def number_leaves(tree: PyTree) -> PyTree:
    """Return a list of the shapes of the leaves of a pytree, with key data for random keys."""
    return jax.eval_shape(lambda leaves: list(map(as_numbers, leaves)), jax.tree.leaves(tree))


def storable(array: Any) -> np.ndarray:
    """Return a NumPy array: float32 for bfloat16, and key data for random keys."""
    return np.asarray(_plain(array))


def _plain(array):
    array = as_numbers(array)
    # Float types that NumPy and most Zarr readers lack fit into float32 without rounding.
    return array.astype(np.float32) if np.dtype(array.dtype).kind not in "biuf" else array


@lru_cache  # one trace per array would dominate the fixed time of a sweep
def plain_shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Return the shape and type of an array as it is stored."""
    return jax.eval_shape(_plain, jax.ShapeDtypeStruct(shape, dtype))
