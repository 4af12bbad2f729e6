"""What a descent is given, checked at its door: counts, limits, an optimizer, keys, a first state.

>>> check_limits(bound=1e12, tolerance=-1.0)
Traceback (most recent call last):
gdjax.errors.InputError: tolerance = -1.0, expected a number above 0
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.errors import InputError
from gdjax.keys import Streams
from gdjax.problems.problem import Problem
from gdjax.whole import is_whole

MOST_STEPS = 2**31 - 1  # steps are counted in 32 bits
MOST_RECORDS = 10_000_000  # of one run


def first_state(problem: Problem, state: PyTree) -> PyTree:
    """What a cost carries at first.

    Raises:
        InputError: it carries something and nothing is given, or the other way round.
    """
    if problem.stateful == (state is not None):
        return state
    raise InputError(
        "state: none given, but the problem's cost carries one; give what the problem begins with: "
        "params, state = problem.begin(key)"
        if problem.stateful
        else "state: given, but the problem's cost declares none; leave it out"
    )


class Keys(NamedTuple):
    """Keys of mini-batches, of a random cost, of measures that draw; None for what is not drawn."""

    order: Any
    noise: Any
    probes: Any


def keys_of(key: Any, *, random: bool, batched: bool, probing: bool) -> Keys:
    """The keys of a descent from the one that was given, or from a run's streams.

    Args:
        key: a key, or `Streams`.
        random: whether the cost draws.
        batched: whether mini-batches are drawn.
        probing: whether a measure draws.

    Raises:
        InputError: something is drawn and the key is none.
    """
    if isinstance(key, Streams):
        return Keys(key.order, key.noise if random else None, key.probes if probing else None)
    if random or batched or probing:
        _check_key(key)

    # Passes of mini-batches are numbered from 0; no descent reaches these ones.
    def stream(number, drawn):
        return jax.random.fold_in(key, 2**32 - number) if drawn else None

    return Keys(key, stream(1, random), stream(2, probing))


def check_optimizer(optimizer: Any) -> None:
    """Make sure that an optimizer is made already.

    Raises:
        InputError: it is a factory, or something else.
    """
    made = not isinstance(optimizer, type) and all(
        callable(getattr(optimizer, name, None)) for name in ("init", "update")
    )
    if not made:
        name = getattr(optimizer, "__name__", None)
        what = f"the function {name}" if name else repr(optimizer)
        remedy = f"call it: {name}(learning_rate)" if name else "such as optax.sgd(0.1)"
        raise InputError(f"optimizer = {what}, expected an Optax transformation; {remedy}")


def _check_key(key):
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not typed and getattr(key, "shape", None) != (2,):
        raise InputError(f"key = {key!r}, expected a random key, such as jax.random.key(0)")


def check_counts(
    problem: Problem,
    steps: Any,
    batch_size: Any,
    record_every: Any,
    snapshot_every: Any,
) -> None:
    """Make sure that the numbers of a descent can work.

    Raises:
        InputError: one that is not a whole number, too small or too large, mini-batches without
            data, snapshots that would not have a recorded cost.
    """
    whole = (("steps", steps, 0), ("record_every", record_every, 1))
    optional = (("batch_size", batch_size, 1), ("snapshot_every", snapshot_every, 1))
    for name, value, least in (*whole, *((n, v, m) for n, v, m in optional if v is not None)):
        if not is_whole(value, least):
            raise InputError(f"{name} = {value!r:.80}, expected a whole number >= {least}")
        if value > MOST_STEPS:
            raise InputError(f"{name} = {value:,}, expected at most {MOST_STEPS:,}; take fewer")
    if steps // record_every > MOST_RECORDS:
        raise InputError(
            f"steps = {steps:,} with record_every = {record_every:,} make "
            f"{steps // record_every:,} records, and at most {MOST_RECORDS:,} are kept; choose "
            f"record_every = {-(-steps // MOST_RECORDS):,} or more"
        )
    if batch_size is not None and problem.data is None:
        raise InputError(
            f"batch_size = {batch_size}, but the problem has no data; leave batch_size out"
        )
    if snapshot_every is not None and snapshot_every % record_every:
        raise InputError(
            f"snapshot_every = {snapshot_every} is not a multiple of record_every = "
            f"{record_every}; every snapshot has its recorded cost"
        )


def check_limits(bound: Any, tolerance: Any) -> None:
    """Make sure that the two numbers that decide an outcome can decide one.

    Raises:
        InputError: one that is no number above 0, or a tolerance that is not finite.
    """
    for name, value, finite in (("bound", bound, False), ("tolerance", tolerance, True)):
        number = np.asarray(value)
        real = number.ndim == 0 and number.dtype.kind in "iuf" and not isinstance(value, bool)
        if not real or not number > 0 or (finite and not np.isfinite(number)):
            raise InputError(f"{name} = {value!r:.80}, expected a number above 0")
