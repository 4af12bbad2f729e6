"""Completion of an interrupted sweep: its unfinished tiles are computed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from gdjax.base.arguments import is_whole
from gdjax.base.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike
from gdjax.sweeps.check import Asked
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import compute


def resume(
    store: StoreLike,
    *,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    metrics: Mapping[str, Any] | None = None,
    part: tuple[int, int] | None = None,
    client: Any = None,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Complete a stored sweep; the result equals that of an uninterrupted sweep.

    Args:
        store: path or URL of the store.
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        metrics: metrics of the sweep, as they were passed to it; those of the problem are known.
        part: number of the part to compute and number of parts, such as (3, 100), for one of many
            processes that compute the store at the same time; None for all missing tiles. A part
            can be computed again, and the number of parts may change.
        client: Dask client, as in `sweep`.
        allow_unverified: whether to go on if it cannot be verified that the stored numbers belong
            to the same computation: if a version or a numeric flag has changed, or if a function
            calls the host (`jax.pure_callback`), whose code cannot be compared. The attribute
            `writers` of the result, and the variable `finished`, say what computed each run.

    Returns:
        Dataset of the sweep. A run that is not finished has `finished` 0, outcome -1 and cost NaN.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import Sweep, axes, plan
        >>> with tempfile.TemporaryDirectory() as store:
        ...     _ = plan(Sweep(problems.bowl([1.0, 9.0]), axes(learning_rate=[0.1, 0.2]), 5), store)
        ...     resume(store).finished.values.tolist()
        [1, 1]
    """
    if part is not None:
        _check_part(part, client)
    stored = StoredSweep(store, problem, make_optimizer, allow_unverified, metrics=metrics)
    asked = Asked(
        stored.sweep,
        stored.location,
        client=client,
        allow_unverified=allow_unverified,
        root=stored.stored.root,
    )
    return compute(asked, part=part)


def _check_part(part, client):
    is_pair = isinstance(part, Sequence) and len(part) == 2 and all(map(is_whole, part))
    if not is_pair or not 0 <= part[0] < part[1]:
        raise InputError(
            f"part = {part!r:.80}, expected the number of a part, from 0, and the number of parts, "
            f"such as (3, 100)"
        )
    if client is not None:
        raise InputError("part: a client distributes all tiles; pass part or client, not both")
