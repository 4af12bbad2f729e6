"""A sweep as a value: what is swept, said once for all who have to do with it.

    specification = problem, axes, num_steps, settings      request = specification, where, on what

`sweep`, `compare`, `resume`, `replay`, a cluster's workers and the record in a store share it. A
field that is added to `Specification` is a keyword of `sweep` from then on, is checked here and
stands in every record; only the place that uses it is left to be written.

>>> from gdjax import problems
>>> from gdjax.sweeps.axes import axes
>>> what = Specification(problems.bowl([1.0, 9.0]), axes(learning_rate=[0.1], seed=[0, 1]), 100)
>>> what.axes.runs, what.roles["learning_rate"].role
(2, 'optimizer')
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from gdjax.descent import block, block_loop
from gdjax.descent.step import default_eval_params_fn
from gdjax.descent.validation import check_counts, check_record_samples, validate_settings
from gdjax.errors import InputError
from gdjax.problems.keywords import same_for_equal
from gdjax.problems.problem import Metric, Problem
from gdjax.stores.location import locate
from gdjax.sweeps import arrays, branching
from gdjax.sweeps.axes import BATCH_SIZE, BRANCH_STEP, SEEDS, Axes, axes, is_static
from gdjax.sweeps.forms import Form
from gdjax.sweeps.keywords import (
    Role,
    by_role,
    check_arguments,
    roles,
    with_settings,
)
from gdjax.whole import is_whole

MAX_PARAM_BYTES = 2**30  # bytes of parameters kept in memory without a store


@dataclass(frozen=True, eq=False)
class Specification:
    """What makes a sweep the same sweep, in the order of `sweep`'s arguments.

    Args:
        problem: what to minimise.
        axes: the grid: `gd.axes(learning_rate=[...], seed=range(8))`. An axis is `seed`,
            `data_seed`, `noise_seed`, `batch_size`, or a keyword of the problem's `init`, its
            `cost` or the optimizer factory. Where it has truth values or names, or is a batch
            size, a program is compiled for each of its values.
        num_steps: number of steps of each run.
        make_optimizer: factory of the optimizer, called inside the program with the axes it names.
            Fix other arguments with `functools.partial(optax.sgd, momentum=0.9)`.
        batch_size: samples a step; None takes the whole training set. All runs see the same order
            of mini-batches unless `data_seed` is an axis.
        record_every: steps from one record to the next.
        record_samples: samples that a record sees, always the same ones; None takes all.
        snapshot_every: steps from one kept copy of the parameters to the next, a multiple of
            `record_every`; None keeps the final ones only.
        metrics: what to watch besides the cost; the problem's own if None.
        eval_params_fn: `eval_params_fn(opt_state, params) -> params`, the parameters at which to
            record, for an optimizer that keeps two points. None takes
            `optax.contrib.schedule_free_eval_params` where the optimizer's state has a
            `ScheduleFreeState`, and otherwise the parameters of the run.
        root_seed: seed of the whole study.
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norms up to it count as zero in the outcome.
        stop_when_converged: a whole-set run whose gradient counts as zero at a record stops there,
            and the sweep ends when every run has stopped or diverged; records after it repeat the
            last.
        continuable: keep what each run needs for more steps besides its parameters (the
            optimiser's memory and the like), as `carry.*`. It takes as much room as that is; more
            steps of runs that have not kept it begin at their start again.
        trunk: value of each axis of a run, which all runs are up to their `branch_step`; from there
            on they have the values of `axes`, which is completed by the trunk's. Records begin
            there. None: every run begins at its own start.
        perturb: how a branch is pushed by `perturbation`: "direction", which all weights share, or
            "one_weight".

    Raises:
        InputError: an argument of a type or a value that cannot work, or axes that nothing takes.
    """

    problem: Problem
    axes: Axes
    num_steps: int
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd
    batch_size: int | None = None
    record_every: int = 1
    record_samples: int | None = None
    snapshot_every: int | None = None
    metrics: Mapping[str, Metric] | None = None
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None
    root_seed: int = 0
    divergence_threshold: float = 1e12
    gradient_tolerance: float = 1e-5
    stop_when_converged: bool = False
    continuable: bool = False
    trunk: Mapping[str, Any] | None = None
    perturb: str = "direction"

    def __post_init__(self):
        if not isinstance(self.problem, Problem):
            raise InputError(f"problem = {self.problem!r:.80}, expected a gdjax.Problem")
        if not isinstance(self.axes, Axes):
            raise InputError(f"axes = {self.axes!r:.80}, expected gd.axes(learning_rate=[0.1, 1])")
        validate_settings(
            self.problem,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            record_every=self.record_every,
            record_samples=self.record_samples,
            snapshot_every=self.snapshot_every,
            eval_params_fn=self.eval_params_fn,
            divergence_threshold=self.divergence_threshold,
            gradient_tolerance=self.gradient_tolerance,
        )
        if not is_whole(self.root_seed, 0, 2**32 - 1):
            raise InputError(
                f"root_seed = {self.root_seed!r:.80}, expected a whole number in [0, 2^32)"
            )
        for name in ("stop_when_converged", "continuable"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise InputError(f"{name} = {getattr(self, name)!r:.80}, expected True or False")
        _check_metrics(self.metrics)
        object.__setattr__(self, "axes", branching.completed(self))
        object.__setattr__(self, "make_optimizer", same_for_equal(self.make_optimizer))
        check_arguments(self.make_optimizer, self.roles)
        self._settle()
        batched = self.batch_size is not None or BATCH_SIZE in self.roles
        if "data_seed" in self.roles and not batched:
            raise InputError(
                "axes: data_seed decides the order of mini-batches, but batch_size is None; give a "
                "batch size or leave the axis out"
            )
        if "noise_seed" in self.roles and not self.problem.random:
            raise InputError(
                "axes: noise_seed decides what a cost draws, but this one draws nothing; declare "
                "`key` in the cost or leave the axis out"
            )
        _check_rates(self)
        _check_survival(self.axes)
        _check_names(self.axes, self.watched)

    @property
    def keywords(self) -> dict[str, Any]:
        """What it is made of, for another one that differs in some of it."""
        return {f.name: getattr(self, f.name) for f in fields(Specification)}

    @property
    def since(self) -> int:
        """The step at which records begin."""
        return 0 if self.trunk is None else int(self.axes.by_name[BRANCH_STEP].min())

    @property
    def of_trunk(self) -> "Specification":
        """The run that branches leave."""
        assert self.trunk is not None
        run = axes(**{axis: [value] for axis, value in self.trunk.items()})
        batch_size = None if BATCH_SIZE in self.trunk else self.batch_size
        return dataclasses.replace(self, axes=run, trunk=None, batch_size=batch_size)

    def _settle(self):
        """Fix what static axes decide, where each has one value."""
        static = {axis: role for axis, role in self.roles.items() if role.static}
        for size in self.axes.by_name.get(BATCH_SIZE, np.zeros(0)).tolist():
            if self.batch_size not in (None, size):
                raise InputError(
                    f"batch_size = {self.batch_size}, and it is an axis; give one of the two"
                )
            check_counts(self.problem, self.num_steps, size, self.record_every, self.snapshot_every)
            check_record_samples(self.problem, self.record_samples, size)
        if len(self.parts) > 1 or not static:
            return
        values = self.axes.first
        fixed = by_role(static, {axis: values[axis] for axis in static})
        object.__setattr__(self, "problem", with_settings(self.problem, **fixed))
        if self.metrics is not None:
            watched = dataclasses.replace(self.problem, metrics=self.metrics)
            object.__setattr__(self, "metrics", with_settings(watched, fixed["cost"]).metrics)
        settled = partial(self.make_optimizer, **fixed["optimizer"])
        if fixed["optimizer"]:
            object.__setattr__(self, "make_optimizer", same_for_equal(settled))
        object.__setattr__(self, "batch_size", values.get(BATCH_SIZE, self.batch_size))

    @cached_property
    def parts(self) -> "tuple[Specification, ...]":
        """The sweeps in each of which no static axis varies: one program each."""
        boxes = list(self.axes.boxes()) if self.axes.static else []
        if len(boxes) < 2:
            return (self,)

        def part(box):
            given = self.keywords
            given["axes"] = box
            return Specification(**given)

        return tuple(map(part, boxes))

    @cached_property
    def watched(self) -> dict[str, Metric]:
        """The metrics by name: those given, or the problem's."""
        return dict(self.problem.metrics if self.metrics is None else self.metrics)

    @cached_property
    def roles(self) -> dict[str, Role]:
        """Which keyword each axis sets."""
        return roles(self.problem, self.axes, self.make_optimizer)

    @cached_property
    def form(self) -> Form:
        """What one run consists of."""
        return Form(
            self.problem, self.axes, self.roles, self.make_optimizer, self.watched, self.root_seed
        )

    @cached_property
    def record_params_fn(self) -> Callable[[PyTree, PyTree], PyTree] | None:
        """`eval_params_fn`, or the default for the optimizer; None for the run's parameters."""
        if self.eval_params_fn is not None:
            return self.eval_params_fn
        return default_eval_params_fn(self.form.carry.state.opt_state, self.form.params)

    @cached_property
    def block_config(self) -> block.BlockConfig:
        """What its blocks are compiled for, without buffers."""
        return block.block_config(
            self.problem,
            self.make_optimizer,
            self.watched,
            batch_size=self.batch_size,
            record_samples=self.record_samples,
            divergence_threshold=self.divergence_threshold,
            stop_tolerance=self.gradient_tolerance if self.stop_when_converged else None,
            eval_params_fn=self.record_params_fn,
        )

    @property
    def plan(self) -> block_loop.RecordSchedule:
        """Which steps are taken, recorded and kept."""
        return block_loop.RecordSchedule(
            first=0,
            num_steps=self.num_steps,
            record_every=self.record_every,
            snapshot_every=self.snapshot_every,
            metric_every={name: metric.every for name, metric in self.watched.items()},
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Request(Specification):
    """A specification, and where and on what it is to be computed.

    Args:
        store: path or URL of a Zarr store (`s3://bucket/runs.zarr`, `gs://`, `az://`). What it
            already has of this sweep is not computed again.
        storage_options: of a URL: keywords of `obstore.store.from_url`, such as `region`.
        width: runs a device computes at a time. None takes the store's, or chooses by memory.
        devices: what to compute on; None takes all local devices.
        max_param_bytes: bytes of parameters and snapshots that are kept in memory without a store;
            more are left out, with a warning.
        client: a Dask client, whose workers then compute the tiles of `store`.

    Raises:
        InputError: as for `Specification`.
    """

    store: str | Path | None = None
    storage_options: Mapping[str, Any] | None = None
    width: int | None = None
    devices: Sequence[jax.Device] | None = None
    max_param_bytes: int = MAX_PARAM_BYTES
    client: Any = None

    def __post_init__(self):
        super().__post_init__()
        if self.store is not None:
            locate(self.store, self.storage_options)  # refuses what is neither a path nor a URL
        elif self.storage_options is not None:
            raise InputError("storage_options: there is no store; give store=..., a URL")
        if self.width is not None and not is_whole(self.width, 1):
            raise InputError(f"width = {self.width!r:.80}, expected a whole number >= 1")
        if not is_whole(self.max_param_bytes, 0):
            raise InputError(
                f"max_param_bytes = {self.max_param_bytes!r:.80}, expected a number of bytes, such "
                f"as 2**30"
            )
        if self.client is not None and (self.store is None or self.devices is not None):
            raise InputError(
                "client: needs a store that all workers can reach, store=..., and the workers have "
                "devices of their own: leave devices out"
            )
        if self.devices is not None:
            _check_devices(self.devices)

    @property
    def specification(self) -> Specification:
        """What is swept, without where and on what."""
        return Specification(**self.keywords)


def check_keywords(given: Iterable[str]) -> None:
    """Make sure that all keywords are those of a request.

    Raises:
        InputError: one is not; the message lists those there are.
    """
    known = [field.name for field in fields(Request)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"sweep: nothing takes {name!r}; expected one of {', '.join(known)}.{hint}"
            )


def _check_metrics(metrics):
    if metrics is None:
        return
    if not isinstance(metrics, Mapping):
        raise InputError(
            f"metrics = {metrics!r:.80}, expected a mapping of names to gdjax.Metric, such as "
            f"{{'size': gd.Metric(lambda params, data: ...)}}"
        )
    for name, metric in metrics.items():
        if not isinstance(name, str) or not isinstance(metric, Metric):
            raise InputError(
                f"metrics: {name!r:.80} = {metric!r:.80}, expected a name with a gdjax.Metric"
            )


def _check_devices(devices):
    if isinstance(devices, str) or not isinstance(devices, Sequence):
        raise InputError(
            f"devices = {devices!r:.80}, expected a list of devices, such as jax.devices('cpu')[:1]"
        )
    if not devices:
        raise InputError("devices: none given; leave it out to take all local devices")
    for device in devices:
        if not isinstance(device, jax.Device):
            raise InputError(
                f"devices: {device!r:.80} is no device; expected some of jax.local_devices()"
            )


def _check_rates(specification):
    """Make sure that learning rates go downhill."""
    for axis, values in specification.axes.by_name.items():
        swept = specification.roles[axis] == ("optimizer", "learning_rate", False)
        if swept and np.any(values <= 0):
            raise InputError(
                f"axes: {axis} = {values[values <= 0][0]}, expected numbers above 0: a step goes "
                f"against the gradient"
            )


def _check_survival(axes):
    """Make sure that values survive in the type that the program computes in."""
    for name, values in axes.by_name.items():
        if name in SEEDS or is_static(name, values):
            continue
        dtype = jax.dtypes.canonicalize_dtype(values.dtype)
        with np.errstate(over="ignore"):
            kept = values.astype(dtype)
        lost = ~np.isfinite(kept) | ((kept == 0) != (values == 0))
        if values.dtype.kind == "i":
            lost |= kept != values
        if lost.any():
            raise InputError(
                f"axes: {name} = {values[lost][0]} does not fit in {dtype}; run the sweep under "
                f"jax.enable_x64, or choose values of a more usual size"
            )


def _check_names(axes, watched):
    """Make sure that no axis and no metric takes the name of an array that the sweep has."""
    names = {*axes.names, *axes.dimensions}
    own = {*arrays.OWN, *arrays.HEAVY}
    for name in (*names & {*own, *watched}, *watched.keys() & own):
        what, remedy = "metrics", "give the metric another name"
        if name in names:
            what, remedy = "axes", f"qualify it, as in **{{'cost.{name}': [...]}}"
        raise InputError(f"{what}: {name} is an array that the sweep has already; {remedy}")
