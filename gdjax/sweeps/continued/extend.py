"""Extension of a stored sweep to more axis values or more steps, in a new store.

    extend(store, wider_axes, num_steps, to=new_store):  copy finished tiles, compute the rest

The old store is not changed. The new one has bitwise equal copies of its runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from gdjax.base.arguments import check_type, check_whole
from gdjax.base.errors import InputError, StoreError, warn
from gdjax.descent.block import SNAPSHOTS
from gdjax.problems.metrics import named_parts
from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike, locate
from gdjax.stores.reader import Stored
from gdjax.stores.writer import Store
from gdjax.sweeps import dataset
from gdjax.sweeps.axes import Axes, rows_of
from gdjax.sweeps.check import Asked
from gdjax.sweeps.checkpoint import Positions, SlabCheckpoint, Start
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import compute
from gdjax.sweeps.identity import REMEDY
from gdjax.sweeps.program import Program


def extend(
    store: StoreLike,
    axes: Axes | None = None,
    num_steps: int | None = None,
    *,
    to: StoreLike,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    client: Any = None,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Compute a larger sweep in a new store, reusing the runs of a stored sweep.

    Finished tiles with the same runs and steps are copied, unless branches at an earlier step are
    added. For more steps, runs continue from their kept state (see `continuable` of `sweep`), or
    otherwise start again. After an interruption, repeat the call to continue.

    Args:
        store: path or URL of the stored sweep, which is not modified.
        axes: larger grid, which includes all stored values; None keeps the stored grid.
        num_steps: number of steps per run, at least the stored number; None keeps the stored
            number.
        to: path or URL of the new store.
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        client: Dask client, as in `sweep`.
        allow_unverified: whether to go on if programs cannot be compared, as in `resume`.

    Returns:
        Dataset of the larger sweep, with runs in the order of `axes`.

    Examples:
        >>> import tempfile
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rates = axes(learning_rate=[0.1, 0.2], seed=range(2))
        ...     few = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/few").load()
        ...     wider = axes(learning_rate=[0.05, 0.1, 0.2], seed=range(2))
        ...     more = extend(f"{folder}/few", wider, to=f"{folder}/more").load()
        >>> more.sizes["learning_rate"], bool((more.cost[1:] == few.cost).all())
        (3, True)
    """
    if locate(to).address == locate(store).address:
        raise InputError(f"to = {str(to)!r} is the stored sweep; pass the path of a new store")
    stored = StoredSweep(store, problem, make_optimizer, allow_unverified)
    spec = stored.sweep
    wider = spec.axes if axes is None else axes
    steps = spec.num_steps if num_steps is None else num_steps
    check_type("axes", wider, Axes, "gd.axes(learning_rate=[0.1, 1])")
    check_whole("num_steps", steps, spec.num_steps, remedy=", that of the stored runs")
    order = _stored_first(spec.axes, wider)
    larger = replace(spec, axes=wider.box(order), num_steps=steps)
    earlier = EarlierRuns(stored.stored, spec.axes.shape, spec.num_steps, spec.start())
    has_more_steps = steps > spec.num_steps
    if has_more_steps and not spec.continuable:
        warn(
            f"{store}: the state for further steps was not stored (continuable = False), so all "
            f"runs start again from step 0, which takes "
            f"{spec.num_steps * spec.axes.runs:,} more run-steps"
        )
    asked = Asked(
        larger,
        to,
        client=client,
        allow_unverified=allow_unverified,
        stored=stored.identity,
        start=earlier if has_more_steps else None,
    )
    runs = compute(asked, None if has_more_steps else earlier.copy)
    return runs.isel({dim: np.argsort(at) for dim, at in zip(wider.sizes, order, strict=True)})


def _stored_first(stored: Axes, wider: Axes) -> tuple[np.ndarray, ...]:
    """Return the positions of a wider grid, along each dimension, with the stored ones first."""
    if list(wider.dimensions) != list(stored.dimensions):
        raise InputError(
            f"axes: the dimensions {', '.join(wider.dimensions)} differ from the stored ones, "
            f"{', '.join(stored.dimensions)}; expected the same dimensions, along which a store "
            f"can be extended"
        )

    def values_of(along):
        return rows_of(dict(sorted(along.items())))

    order = []
    for dim, along in wider.dimensions.items():
        position = {values: i for i, values in enumerate(values_of(along))}
        before = stored.dimensions[dim]
        needed = values_of(before) if before.keys() == along.keys() else [tuple(before)]
        if lost := [values for values in needed if values not in position]:
            raise InputError(
                f"axes: the stored axis {dim} has the value {', '.join(map(str, lost[0]))}, which "
                f"is missing from the request; include all stored values"
            )
        first = [position.pop(values) for values in needed]
        order.append(np.array([*first, *position.values()]))
    return tuple(order)


@dataclass(frozen=True)
class EarlierRuns:
    """Runs of a stored sweep, at the same positions as in a larger sweep.

    Runs that cannot continue begin as `otherwise` says.
    """

    stored: Stored
    shape: tuple[int, ...]
    num_steps: int
    otherwise: Start | None

    def copy(self, larger: Store) -> None:
        """Copy finished tiles that have the same runs and steps in the larger sweep.

        If branches at an earlier step are added, no tile is copied.
        """
        stored = self.stored
        shapes = {name: array.chunk for name, array in stored.files.variables.items()}
        arrays = larger.files.variables.items()
        if any(shapes.get(name, array.chunk) != array.chunk for name, array in arrays):
            return  # the arrays of branches begin at an earlier step
        missing = ~larger.finished()
        for tile, record in stored.records()[0].items():
            same = stored.schema.region(tile) == larger.schema.region(tile)
            if not (same and missing[tile]):
                continue
            chunks, damages = stored.tile_chunks(tile, record)
            if not damages:
                if absent := larger.files.variables.keys() - chunks.keys():
                    raise StoreError(
                        f"{stored.location}: has no array {min(absent)!r:.80}, which a sweep with "
                        f"its record has; {REMEDY}"
                    )
                writers = map(stored.writer, record.writers)
                larger.write_chunks(tile, chunks, tuple(map(larger.add_writer, writers)))

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return the descriptions of the writers that computed the first steps of runs."""
        stored, at = self.stored, np.stack(positions, axis=-1)
        at = at[(at < self.shape).all(axis=-1)] // [*stored.schema.tile.values()]
        records = [stored.record(tuple(tile)) for tile in np.unique(at, axis=0).tolist()]
        names = dict.fromkeys(name for record in records if record for name in record.writers)
        return list(map(stored.writer, names))

    def __call__(self, program: Program, positions: Positions) -> SlabCheckpoint | None:
        """Return the state from which stored runs continue, or otherwise that of new runs."""
        state = self.stored_carry(program, positions)
        if state is None and self.otherwise is not None:
            return self.otherwise(program, positions)
        return state

    def stored_carry(self, program: Program, positions: Positions) -> SlabCheckpoint | None:
        """Return the state from which stored runs continue.

        Returns:
            The state; None if a run is not stored, is not finished or did not keep its state, or if
            the state does not match the program.
        """
        if any((i >= n).any() for i, n in zip(positions, self.shape, strict=True)):
            return None
        schedule = program.schedule
        steps = schedule.recorded_steps()
        steps = steps[(steps >= program.first_record) & (steps < self.num_steps)]
        carry_names = dataset.named_leaves("carry", program.carry_shapes)
        with self.stored.dataset() as stored:
            dims = stored["finished"].dims
            index = {d: xr.DataArray(i, dims="run") for d, i in zip(dims, positions, strict=True)}
            runs = stored.isel(index)
            is_final = program.facts.eval_params_fn is None
            carry_names = [
                name if name in runs else dataset.stored_name(name, params_are_final=is_final)
                for name in carry_names
            ]
            if not (runs["finished"] > 0).all() or not set(carry_names) <= set(runs):
                return None

            def read(name, at=None):
                values = runs[name].values
                if at is None:
                    return values
                # Arrays of branches begin at the earliest branch step of the whole grid.
                return values[:, np.isin(runs[runs[name].dims[1]].values, at)]

            def read_leaves(names, at):
                return [read(n, at).astype(leaf.dtype) for n, leaf in names.items()]

            leaves = dataset.number_leaves(program.carry_shapes)
            carry = zip(carry_names, leaves, strict=True)
            records = {name: read(name, steps) for name in program.record_names}
            if "batch_cost" not in records:
                records["batch_cost"] = np.full_like(records["cost"], np.nan)
            metrics = program.facts.array_metrics
            arrays = {name: named_parts(name, value) for name, value in metrics.items()}
            if program.sweep.snapshot_every is not None:
                params, state = program.facts.params, program.facts.model_state
                arrays[SNAPSHOTS] = dataset.named_leaves(SNAPSHOTS, params)
                arrays[SNAPSHOTS] |= dataset.named_leaves("snapshot_model_state", state)
                if not arrays[SNAPSHOTS].keys() <= {*runs.variables}:
                    return None
            times = {name: steps[schedule.is_kept(name, steps)] for name in arrays}
            state = SlabCheckpoint(
                self.num_steps,
                [read(name).astype(leaf.dtype) for name, leaf in carry],
                records,
                {n: read_leaves(names, times[n]) for n, names in arrays.items() if len(times[n])},
            )
        return state if program.fits(state) else None
