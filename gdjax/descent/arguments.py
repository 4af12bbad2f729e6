"""Validation of the arguments of a descent."""

from typing import Any

import jax
from jaxtyping import PyTree

from gdjax.base.arguments import check_limits, check_whole
from gdjax.base.errors import InputError
from gdjax.base.keys import Streams, check_key
from gdjax.base.limits import Count, Positive, Threshold, Whole
from gdjax.descent.batches import records_batches
from gdjax.problems.problem import Problem

MAX_RECORDS_PER_RUN = 10_000_000


def validate_settings(
    problem: Problem,
    *,
    num_steps: Any,
    batch_size: Any,
    record_every: Any,
    record_samples: Any,
    snapshot_every: Any,
    divergence_threshold: Any,
    gradient_tolerance: Any,
) -> None:
    """Check the numbers that a descent and a sweep have in common."""
    check_limits("divergence_threshold", divergence_threshold, Threshold)
    check_limits("gradient_tolerance", gradient_tolerance, Positive)
    check_limits("num_steps", num_steps, Whole)
    check_limits("record_every", record_every, Count)
    for name, value in (("batch_size", batch_size), ("snapshot_every", snapshot_every)):
        if value is not None:
            check_limits(name, value, Count)
    if num_steps // record_every > MAX_RECORDS_PER_RUN:
        raise InputError(
            f"num_steps = {num_steps:,} with record_every = {record_every:,} make "
            f"{num_steps // record_every:,} records, expected at most {MAX_RECORDS_PER_RUN:,}; "
            f"choose record_every = {-(-num_steps // MAX_RECORDS_PER_RUN):,} or more"
        )
    if batch_size is not None and problem.data is None:
        raise InputError(
            f"batch_size = {batch_size}, but the problem has no data; leave batch_size out"
        )
    if snapshot_every is not None and snapshot_every % record_every:
        raise InputError(
            f"snapshot_every = {snapshot_every}, expected a multiple of record_every = "
            f"{record_every}, since the cost of each snapshot is recorded; choose a multiple, such "
            f"as {-(-snapshot_every // record_every) * record_every}"
        )
    if record_samples is None:
        return
    if problem.data is None:
        raise InputError(
            f"record_samples = {record_samples!r:.80}, but the problem has no data; leave it out"
        )
    remedy = ", the number of samples; None takes all"
    check_whole("record_samples", record_samples, 1, problem.samples, remedy=remedy)
    if records_batches(problem, batch_size) and record_samples < (batch_size or 0):
        raise InputError(
            f"record_samples = {record_samples}, expected at least batch_size = {batch_size}: a "
            f"record is a mean over batches of that size, since the cost couples samples, draws "
            f"random numbers or has a model state, and there is no evaluation"
        )


def initial_model_state(problem: Problem, model_state: PyTree) -> PyTree:
    """Check and return the initial model state of a descent."""
    if problem.stateful == (model_state is not None):
        return model_state
    raise InputError(
        "model_state is None, but the problem's cost declares it; pass the initial state: "
        "params, model_state = problem.begin(key)"
        if problem.stateful
        else "model_state is given, but the problem's cost does not declare it; leave it out"
    )


def descent_keys(key: Any, *, random: bool, probing: bool) -> tuple[Any, Any, Any]:
    """Return the keys of mini-batches, of a random cost and of random metrics.

    They come from one key, or from the streams of a run. The last two are None if unused.
    """
    if isinstance(key, Streams):
        return key.order, key.noise if random else None, key.probes if probing else None
    check_key(key)

    # Passes of mini-batches use the numbers from 0 up, and no descent reaches those just below
    # 2^32.
    def stream(number, drawn):
        return jax.random.fold_in(key, 2**32 - number) if drawn else None

    return key, stream(1, random), stream(2, probing)
