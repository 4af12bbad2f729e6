"""Many descents as one program: the one way in.

    runs = product of axes;   tiles of runs -> slabs -> an xarray.Dataset over axes and steps

>>> import jax.numpy as jnp, optax
>>> from gdjax.sweeps.axes import axes
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> runs = sweep(bowl, axes(learning_rate=[0.25, 0.5, 2.0]), 3, make_optimizer=optax.sgd)
>>> runs.cost.isel(step=-1).values.tolist()
[0.03125, 0.0, 1458.0]
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec

import jax
from jaxtyping import PyTree

from gdjax.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.stores.location import Folder, locate
from gdjax.stores.reader import open_dataset, read_attributes
from gdjax.stores.schema import check_distinct, check_name
from gdjax.stores.writer import read_only
from gdjax.sweeps import computing, sizing
from gdjax.sweeps.arrays import from_named
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.drafting import mention_cores
from gdjax.sweeps.programs import Programs, draft_programs, fit_programs, fit_stored
from gdjax.sweeps.recorded import identity_of
from gdjax.sweeps.specification import Request, check_keywords

Arguments = ParamSpec("Arguments")


def _of(
    make: Callable[Arguments, Request],
) -> Callable[[Callable[[Request], Any]], Callable[Arguments, Any]]:
    """A function of a request as one of the arguments that make it: they are written once."""

    def door(function):
        @wraps(function)
        def called(*args: Arguments.args, **kwargs: Arguments.kwargs):
            check_keywords(kwargs)
            return function(make(*args, **kwargs))

        called.__signature__ = inspect.signature(make)  # ty: ignore[missing-attribute]
        return called

    return door


@_of(Request)
def sweep(asked: Request) -> Any:
    """Descend from every point of a grid of settings, as one compiled program.

    Its arguments are the fields of `gdjax.sweeps.Specification` (problem, axes, num_steps, and what
    else decides the numbers) and of `gdjax.sweeps.Request` (store, width, devices,
    max_param_bytes, client).

    Returns:
        An `xarray.Dataset` with the axes and `step` as dimensions: cost, batch_cost (mini-batches),
        gradient_norm, the metrics, outcome, diverged_at, params.* and snapshots.*. A diverged
        run's costs are +inf from then on; NaN means not recorded.

    Raises:
        InputError: arguments that cannot work, or more than there is room for; before any work is
            done.
        StoreError: the store is in use, damaged beyond repair, or holds another sweep.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    return planned(asked)()


def planned(asked: Request) -> Callable[[], Any]:
    """A sweep that has been checked and only has to be run.

    Raises:
        InputError, StoreError: as for `sweep`.
    """
    if jax.process_count() > 1:
        raise InputError(
            f"sweep: this is one of {jax.process_count()} processes of jax.distributed, all of "
            f"which would compute the same runs; start one process alone and give it the others "
            f"as Dask workers: client=dask.distributed.Client(...)"
        )
    devices = tuple(jax.local_devices() if asked.devices is None else asked.devices)
    if asked.client is None:
        mention_cores()
    drafts = draft_programs(asked.specification, devices)
    if asked.store is None:
        programs = fit_programs(drafts, asked.width)
        return partial(
            computing.in_memory, programs, computing.kept(programs, asked.max_param_bytes)
        )
    return in_store(drafts, asked.store, asked.storage_options, asked.width, asked.client)


def in_store(
    drafts: Programs,
    store: str | Path,
    options: Mapping[str, Any] | None = None,
    width: int | None = None,
    client: Any = None,
) -> Callable[[], Any]:
    """Check a sweep against its store; the result computes what is missing.

    Args:
        drafts: the checked programs.
        store: path or URL of the store.
        options: `storage_options` of a URL.
        width: runs a device computes at a time, or None.
        client: a Dask client, or None.

    Raises:
        InputError, StoreError: as for `sweep`.
    """
    attributes = read_attributes(store, storage_options=options)
    identity = None if attributes is None else identity_of(attributes, store)
    if attributes is not None and attributes["gdjax_format"] == 2:
        raise read_only(locate(store, options))
    if client is not None:
        from gdjax.sweeps import cluster

        run = partial(cluster.run, drafts, store, options, client, width=width, stored=identity)
    else:
        if identity is None:
            programs = fit_programs(drafts, width)
            if isinstance(location := locate(store, options), Folder):
                sizing.check_disk(location.path, programs.layout)
        else:
            programs = fit_stored(drafts, identity, width, store)
        run = partial(computing.in_store, programs, store, options)

    def computed():
        run()
        return open_dataset(store, storage_options=options)

    return computed


def compare(problems: Mapping[str, Any], axes: Axes, num_steps: int, **settings: Any) -> Any:
    """Sweep several problems over the same axes: what sets shapes is compared this way.

    Args:
        problems: by name; a value is a Problem, or `(Problem, {keyword of sweep: value})` where
            something besides the problem differs, such as `batch_size`.
        axes: as for `sweep`.
        num_steps: as for `sweep`, unless a problem's own settings have it.
        settings: as for `sweep`. A store is a folder or URL under which each problem has its own.

    Returns:
        An `xarray.DataTree` with a Dataset for each name.

    Raises:
        InputError: as `sweep`, for any of them, before any work is done; a name that is no name of
            a folder.
    """
    import xarray as xr

    store = settings.pop("store", None)
    ready = {}
    for name, given in problems.items():
        problem, own = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
        if not isinstance(problem, Problem):
            raise InputError(
                f"compare: {name} = {problem!r:.80}, expected a Problem, or (Problem, settings)"
            )
        check_name(name, "compare")
        check_distinct(problems, "compare")
        arguments: dict[str, Any] = {"axes": axes, "num_steps": num_steps, **settings, **own}
        if store is not None:
            arguments["store"] = f"{str(store).rstrip('/')}/{name}"
        check_keywords(arguments)
        ready[name] = planned(Request(problem, **arguments))
    return xr.DataTree.from_dict({name: run() for name, run in ready.items()})


def params_of(dataset: Any, like: PyTree, index: Mapping[str, int]) -> PyTree:
    """The final parameters of one run of a sweep, as the pytree they were.

    Args:
        dataset: what `sweep` returned.
        like: parameters of the same structure, such as `problem.init(key)`.
        index: position along each dimension of the grid.

    Raises:
        InputError: parameters that the sweep has not kept, or of another structure than `like`.
    """
    return from_named("params", like, dataset.isel(index))
