"""A stored sweep, opened once: its identity, and how that is read back.

    opened(store) -> Recorded: axes, problem, specification, Dataset; how a run was computed

Nothing that a record says is called, imported or used as a path: problems and optimizers come from
tables in our source, or from the caller.

>>> import tempfile, optax
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/s")
...     stored = opened(f"{folder}/s")
>>> stored.axes.names, stored.problem().provenance["eigenvalues"]
(('learning_rate', 'seed'), [1.0, 9.0])
"""

import contextlib
import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optax
import optax.contrib

from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Metric, Problem
from gdjax.stores.format_2 import join_parts
from gdjax.stores.reader import Stored, open_parts
from gdjax.stores.schema import plain
from gdjax.stores.writer import differences
from gdjax.sweeps.axes import BATCH_SIZE, Axes, axes, zip_axes
from gdjax.sweeps.factories import describe, optimizer_from, problem_from
from gdjax.sweeps.grids import places
from gdjax.sweeps.provenance import (
    FORMAT_2_NAMES,
    described_problem,
    flags_changed,
    hash_of,
    problem_hash,
    revision,
    versions,
)
from gdjax.sweeps.specification import Specification
from gdjax.whole import is_whole


class Setting(NamedTuple):
    """How a stored run was computed: the bits depend on it.

    Args:
        sweep: all of it.
        specification: the part of it with the run's static values.
        width: runs a device computed at a time.
        devices: how many.
        tile_shape: runs of a tile along each dimension.
        index: where the run stands in the grid of `specification`.
        program_hash: of the program that was recorded for it.
    """

    sweep: Specification
    specification: Specification
    width: int
    devices: int
    tile_shape: tuple[int, ...]
    index: tuple[int, ...]
    program_hash: str


class Recorded:
    """A stored sweep that has been opened.

    Args:
        parts: its stores: one, unless it is of format 2.
        skip_damaged: whether tiles that are damaged count as not finished.

    Raises:
        StoreError: it is not that of a sweep.

    Attributes:
        location: where the store is.
        said: its identity.
    """

    def __init__(self, parts: Sequence[Stored], *, skip_damaged: bool = False):
        self.parts, self.skip_damaged = tuple(parts), skip_damaged
        self.location = self.parts[0].location
        self.said = identity_of(self.parts[0].attributes, self.location)
        if len(self.parts) > 1:
            self.said = self._joined()

    def _joined(self):
        """The identity of one sweep that has the runs and steps of all parts."""
        parts = [identity_of(part.attributes, self.location) for part in self.parts]
        axes = json.loads(self.dataset.attrs["identity"])["axes"]
        names = {name.split(".")[-1] for along in axes.values() for name in along}
        optimizer = dict(parts[0]["make_optimizer"])
        keywords = optimizer["keywords"].items()
        optimizer["keywords"] = {k: v for k, v in keywords if k not in names}  # static axes
        batch_size = None if BATCH_SIZE in names else parts[0]["batch_size"]
        joined = {"axes": axes, "make_optimizer": optimizer, "batch_size": batch_size}
        return {**parts[0], **joined, "num_steps": max(part["num_steps"] for part in parts)}

    @cached_property
    def dataset(self) -> Any:
        """The sweep as `open_dataset` shows it."""
        return join_parts([part.dataset(skip_damaged=self.skip_damaged) for part in self.parts])

    @cached_property
    def axes(self) -> Axes:
        """The grid."""
        return axes_of(self.said, self.location)

    def setting(
        self,
        index: tuple[int, ...],
        problem: Problem | None = None,
        make_optimizer: Callable | None = None,
    ) -> Setting:
        """Return how a run was computed.

        Args:
            index: where it stands along each dimension of the axes.
            problem: as for `specification`, as is the next.
            make_optimizer: the sweep's.

        Raises:
            StoreError: as for `specification`.
        """
        whole = self.specification(problem, make_optimizer)
        for part in reversed(self.parts):
            said = identity_of(part.attributes, self.location)
            grid = axes_of(said, self.location)
            with contextlib.suppress(InputError):
                run = whole.axes.box(tuple(np.array([i]) for i in index))
                own = tuple(int(at[0]) for at in places(grid, run))
                break
        else:
            raise StoreError(f"{self.location}: has no such run; go on with the sweep first")
        number, boxed = 0, whole
        if len(self.parts) > 1:  # of format 2, each with the static values of its own
            boxed = dataclasses.replace(whole, axes=grid)
        elif len(whole.parts) > 1:
            counts = [len(groups) for groups in grid.static_groups]
            groups = [
                next(i for i, group in enumerate(groups) if place in group)
                for place, groups in zip(own, grid.static_groups, strict=True)
            ]
            number = int(np.ravel_multi_index(groups, counts))
            boxed = whole.parts[number]
            own = tuple(int(at[0]) for at in places(boxed.axes, run))
        slab, program_hash = said["slab"], said["program_hash"]
        widths, hashes = listed(slab["width"]), listed(program_hash)
        if not len(widths) == len(hashes) == (1 if len(self.parts) > 1 else len(whole.parts)):
            raise StoreError(
                f"{self.location}: its record has {len(hashes)} programs, and its axes need "
                f"another number; take the store from where it was written"
            )
        tile_shape = part.schema.flags.chunk
        return Setting(
            whole, boxed, widths[number], slab["devices"], tile_shape, own, hashes[number]
        )

    def run(self, index: tuple[int, ...]) -> Any:
        """One run's Dataset, in memory.

        Args:
            index: where it stands along each dimension of the axes.

        Raises:
            StoreError: it is not finished, or its tile is damaged.
        """
        with self.dataset as dataset:
            found = dataset.isel(dict(zip(self.axes.sizes, index, strict=True))).load()
        if not int(found["finished"]):
            raise StoreError(
                f"{self.location}: this run is not finished; go on with the sweep first"
            )
        return found

    def writer(self, run: Any) -> dict[str, Any]:
        """Return the entry of `writers` that describes what computed a run."""
        writers = [writer for part in self.parts for writer in part.writers]
        return writers[int(run["finished"]) - 1]

    def problem(self, problem: Problem | None = None) -> Problem:
        """Return the problem of the sweep, with the data that it had.

        A given problem must have the data and the programs of the sweep's. Programs are compared
        under equal versions of the packages that make them; where neither these nor the record
        decide, a warning says so.

        Args:
            problem: the sweep's, where it is not made again from its record.

        Raises:
            StoreError: it has to be given, or is not that of the sweep.
        """
        problem, doubt = self._compared(problem)
        if doubt:
            warnings.warn(
                f"{self.location}: whether this problem is that of its sweep is not known, since "
                f"{doubt}",
                stacklevel=3,
            )
        return problem

    def _compared(self, problem):
        """The problem of the sweep, and why its program could not be compared, if it could not."""
        if problem is None:
            return self._same_data(problem_from(self.said["problem"], self.location)), None
        if not isinstance(problem, Problem):
            raise InputError(f"problem = {problem!r:.80}, expected a gdjax.Problem")
        grid = axes_of(self.said, self.location)
        described = plain(described_problem(problem))
        recorded = self.said.get("problem_hash")
        here = problem_hash(self._same_data(problem), grid)
        if here == recorded:
            return problem, None
        changed, doubt = self.versions_changed, None
        if described == self.said["problem"] and isinstance(described, dict):
            # It is made again, so that no version is between the two.
            recorded = problem_hash(problem_from(described, self.location), grid)
        elif recorded is None:
            doubt = "it was written before programs of problems were recorded"
        elif changed:
            listed = (f"{name}: stored {old}, here {new}" for name, (old, new) in changed.items())
            doubt = f"the program differs, and so do versions or flags: {'; '.join(listed)}"
        then, now = {"problem": self.said["problem"]}, {"problem": described}
        if not doubt:
            then, now = then | {"problem_hash": recorded}, now | {"problem_hash": here}
        if found := differences(then, now):
            raise StoreError(
                f"{self.location}: its sweep had another problem ({found}); give the problem of "
                f"the sweep: problem=..."
            )
        return problem, doubt

    def _same_data(self, problem):
        here, recorded = hash_of(problem.data), self.said.get("data_hash")
        if here != recorded:
            raise StoreError(
                f"{self.location}: its sweep had other data than this problem (data_hash: stored "
                f"{recorded!r:.80}, here {here!r}); give the problem with the data that were used: "
                f"problem=..."
            )
        return problem

    @property
    def versions_changed(self) -> dict[str, tuple[Any, Any]]:
        """Versions and numeric flags that are not those that the store was begun with."""
        begun = next(iter(self.parts[0].writers), {})
        here = {**versions(), "revision": revision()}
        names = ("gdjax", "revision", "jax", "jaxlib", "optax")
        changed = {n: (begun.get(n), here[n]) for n in names if begun.get(n) != here[n]}
        return changed | flags_changed(self.said.get("flags"))

    def specification(
        self, problem: Problem | None = None, make_optimizer: Callable | None = None
    ) -> Specification:
        """The specification of the sweep, or of this part of it.

        Args:
            problem: the sweep's, where it was the user's own.
            make_optimizer: the sweep's, where it was.

        Raises:
            StoreError: a problem or an optimizer that has to be given, or is not the sweep's; a
                record that no sweep can have.
        """
        said, where = self.said, self.location
        problem, _ = self._compared(problem)  # who runs it compares the whole program
        read: dict[str, Any] = {
            "problem": problem,
            "axes": axes_of(said, where),
            "make_optimizer": make_optimizer or optimizer_from(said["make_optimizer"], where),
            "metrics": _metrics(said.get("metrics", {}), problem, where),
            "eval_params_fn": _eval_params_fn(said.get("eval_params_fn"), where),
        }
        settings = {f.name: said[f.name] for f in fields(Specification) if f.name in said}
        if settings.get("divergence_threshold") == "inf":  # as JSON has it
            settings["divergence_threshold"] = math.inf
        try:
            specification = Specification(**{**settings, **read})
        except InputError as error:
            raise StoreError(f"{where}: its record does not fit its problem: {error}") from error
        here = {"make_optimizer": plain(describe(specification.make_optimizer))}
        if found := differences({"make_optimizer": said["make_optimizer"]}, here):
            raise StoreError(
                f"{where}: its sweep had another optimizer ({found}); give the one of the sweep: "
                f"make_optimizer=..."
            )
        return specification


def opened(
    store: str | Path,
    *,
    skip_damaged: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Recorded:
    """Open a stored sweep.

    Args:
        store: path or URL of the store; it may be in use.
        skip_damaged: take a tile that is damaged for one that is not finished.
        storage_options: of a URL: keywords of `obstore.store.from_url`.

    Raises:
        StoreError: there is no store, or none of a sweep.
    """
    return Recorded(open_parts(store, storage_options), skip_damaged=skip_damaged)


def identity_of(attributes: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """What a store says its sweep is, checked.

    Args:
        attributes: the store's.
        where: which store, for messages.

    Raises:
        StoreError: it is none of a sweep.
    """
    said = attributes.get("identity")
    if isinstance(said, dict) and attributes.get("gdjax_format") == 2:
        said = {FORMAT_2_NAMES.get(name, name): v for name, v in said.items() if name != "first"}
    if not isinstance(said, dict) or not {"axes", "slab", "program_hash"} <= set(said):
        raise StoreError(f"{where}: was not written by a sweep")
    wrong = [name for name, right in _EXPECTED.items() if not right(said.get(name))]
    if wrong:
        raise StoreError(
            f"{where}: its record says {wrong[0]} = {said.get(wrong[0])!r:.80}, which no sweep "
            f"has; take the store from where it was written"
        )
    _check_names(said, where)
    return said


def _check_names(said, where):
    """Make sure that a store has the axes that its record speaks of."""
    layout = said.get("layout")
    if layout is None:  # of a sweep in memory, whose arrays were made from its axes
        return
    alongs = said["axes"].values()
    named = {axis for along in alongs if isinstance(along, dict) for axis in along}
    strange = (set(said["axes"]) ^ set(layout["tile"])) | (named - set(layout["coordinates"]))
    if strange:
        raise StoreError(
            f"{where}: its record speaks of {min(strange)!r:.80}, which is no axis of its arrays; "
            f"take the store from where it was written"
        )


MOST = 2**32 - 1  # of a count or a seed in a record

# What is used of an identity besides what `Specification` checks.
_EXPECTED: Mapping[str, Callable[[Any], bool]] = {
    "axes": lambda said: isinstance(said, dict) and len(said) > 0,
    "num_steps": lambda said: is_whole(said, 0, MOST),
    "batch_size": lambda said: said is None or is_whole(said, 1, MOST),
    "root_seed": lambda said: is_whole(said, 0, MOST),
    "make_optimizer": lambda said: (
        isinstance(said, dict)
        and isinstance(said.get("name"), str)
        and isinstance(said.get("keywords"), dict)
    ),
    "flags": lambda said: said is None or isinstance(said, dict),
    "slab": lambda said: (
        isinstance(said, dict)
        and is_whole(said.get("devices"), 1, MOST)
        and all(is_whole(width, 1, MOST) for width in listed(said.get("width")))
    ),
    "program_hash": lambda said: all(isinstance(digest, str) for digest in listed(said)),
}


def listed(value):
    """A value of each program as a list; format 2 has one program a store."""
    return value if isinstance(value, list) and value else [value]


def axes_of(said: Mapping[str, Any], where: Any) -> Axes:
    """The axes of a sweep from its identity.

    Raises:
        StoreError: they can be of no sweep.
    """
    try:
        return axes(**{dim: zip_axes(**along) for dim, along in said["axes"].items()})
    except (InputError, TypeError, AttributeError) as error:
        raise StoreError(f"{where}: its axes cannot be those of a sweep ({error})") from error


# What a record may name besides what `factories` lists.
EVAL_PARAMS_FNS = {
    f"{made.__module__}.{made.__qualname__}": made
    for made in (optax.contrib.schedule_free_eval_params,)
}


def _eval_params_fn(said, where):
    if said is None or (isinstance(said, str) and said in EVAL_PARAMS_FNS):
        return said and EVAL_PARAMS_FNS[said]
    raise StoreError(
        f"{where}: its sweep evaluated at parameters from {said!r:.80}, which no record may name; "
        f"call gdjax.sweep with the arguments and the store of then to go on"
    )


def _metrics(said: Any, problem: Problem, where: Any) -> dict[str, Metric]:
    metrics = {}
    for name, cadence in said.items() if isinstance(said, Mapping) else ():
        if name not in problem.metrics:
            raise StoreError(
                f"{where}: its sweep watched {name!r:.80}, which is no metric of the problem; "
                f"give a problem that has it: dataclasses.replace(problem, metrics=...)"
            )
        every = cadence.get("every") if isinstance(cadence, Mapping) else cadence
        try:
            metrics[name] = dataclasses.replace(problem.metrics[name], every=every)
        except InputError as error:
            raise StoreError(f"{where}: its metric {name!r:.80}: {error}") from error
    return metrics
