"""A stored sweep, opened once: its parts, what it says of itself, and how that is read back.

    opened(store) -> Recorded: axes, problem, specification, Dataset;   of one part: `part_with(at)`

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
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optax
import optax.contrib

from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Measure, Problem
from gdjax.stores.joining import of_parts, part_paths
from gdjax.stores.layout import plain
from gdjax.stores.reading import Stored, local, open_parts, read_attributes
from gdjax.stores.writing import differences
from gdjax.sweeps.axes import Axes, AxisValue, axes, position, together
from gdjax.sweeps.factories import describe, optimizer_from, problem_from
from gdjax.sweeps.grids import places
from gdjax.sweeps.provenance import (
    STORED_NAMES,
    described_problem,
    flags_changed,
    hash_of,
    problem_hash,
    revision,
    versions,
)
from gdjax.sweeps.specification import Specification
from gdjax.whole import is_whole


class Recorded:
    """A stored sweep that has been opened.

    Args:
        parts: its stores, at least one.
        skip_damaged: whether tiles that are damaged count as not finished.

    Raises:
        StoreError: it is none of a sweep.

    Attributes:
        path: folder of the first part.
        said: what that says of itself.
    """

    def __init__(self, parts: Sequence[Stored], *, skip_damaged: bool = False):
        self.parts, self.skip_damaged = tuple(parts), skip_damaged
        self.path = self.parts[0].path
        self.said = identity_of(self.parts[0].attributes, self.path)

    @cached_property
    def dataset(self) -> Any:
        """The sweep as `open_dataset` shows it."""
        return of_parts([part.dataset(skip_damaged=self.skip_damaged) for part in self.parts])

    @cached_property
    def axes(self) -> Axes:
        """The grid of all parts."""
        said = self.said
        if len(self.parts) > 1:
            said = identity_of(self.dataset.attrs, self.path)
        return axes_of(said, self.path)

    def part_with(self, at: Mapping[str, AxisValue], *, nearest: bool = False) -> "Recorded":
        """The last part that has the run of some values, as `parts_with` has it."""
        return self.parts_with(at, nearest=nearest)[-1]

    def parts_with(self, at: Mapping[str, AxisValue], *, nearest: bool = False) -> "list[Recorded]":
        """All parts that have the run of some values, in order.

        Args:
            at: values by axis.
            nearest: whether the nearest numbers are taken.

        Raises:
            InputError: a value that is missing, or for something that is no axis.
            StoreError: none of the parts has been begun that has the run.
        """
        if len(self.parts) == 1:
            return [self]
        index = position(self.axes, at, nearest=nearest)
        run = self.axes.box(tuple(np.array([i]) for i in index))
        found = []
        for part in self.parts:
            alone = Recorded([part], skip_damaged=self.skip_damaged)
            with contextlib.suppress(InputError):
                places(alone.axes, run)
                found.append(alone)
        if not found:
            raise StoreError(f"{self.path}: no part of it has this run; go on with the sweep first")
        return found

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
            raise StoreError(f"{self.path}: this run is not finished; go on with the sweep first")
        return found

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
                f"{self.path}: whether this problem is that of its sweep is not known, since "
                f"{doubt}",
                stacklevel=3,
            )
        return problem

    def _compared(self, problem):
        """The problem of the sweep, and why its program could not be compared, if it could not."""
        if problem is None:
            return self._same_data(problem_from(self.said["problem"], self.path)), None
        if not isinstance(problem, Problem):
            raise InputError(f"problem = {problem!r:.80}, expected a gdjax.Problem")
        grid = axes_of(self.said, self.path)
        described = plain(described_problem(problem))
        recorded = self.said.get("problem_hash")
        here = problem_hash(self._same_data(problem), grid)
        if here == recorded:
            return problem, None
        changed, doubt = self.versions_changed, None
        if described == self.said["problem"] and isinstance(described, dict):
            # It is made again, so that no version is between the two.
            recorded = problem_hash(problem_from(described, self.path), grid)
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
                f"{self.path}: its sweep had another problem ({found}); give the problem of the "
                f"sweep: problem=..."
            )
        return problem, doubt

    def _same_data(self, problem):
        here, recorded = hash_of(problem.data), self.said.get("data_hash")
        if here != recorded:
            raise StoreError(
                f"{self.path}: its sweep had other data than this problem (data_hash: stored "
                f"{recorded!r:.80}, here {here!r}); give the problem with the data that were used: "
                f"problem=..."
            )
        return problem

    @property
    def versions_changed(self) -> dict[str, tuple[Any, Any]]:
        """Versions and numeric flags that are not those that the store was begun with."""
        begun = self.parts[0].attributes["origins"][0]
        here = {**versions(), "revision": revision()}
        names = ("gdjax", "revision", "jax", "jaxlib", "optax")
        changed = {n: (begun.get(n), here[n]) for n in names if begun.get(n) != here[n]}
        return changed | flags_changed(self.said.get("flags"))

    def specification(
        self, problem: Problem | None = None, optimizer: Callable | None = None
    ) -> Specification:
        """The specification of the sweep, or of this part of it.

        Args:
            problem: the sweep's, where it was the user's own.
            optimizer: the sweep's, where it was.

        Raises:
            StoreError: a problem or an optimizer that has to be given, or is not the sweep's; a
                record that no sweep can have.
        """
        said, where = self.said, self.path
        problem, _ = self._compared(problem)  # who runs it compares the whole program
        read: dict[str, Any] = {
            "problem": problem,
            "axes": axes_of(said, where),
            "optimizer": optimizer or optimizer_from(said["optimizer"], where),
            "measures": _measures(said.get("measures", {}), problem, where),
            "eval_params_fn": _eval_params_fn(said.get("readout"), where),
        }
        names = {f.name: STORED_NAMES.get(f.name, f.name) for f in fields(Specification)}
        settings = {name: said[stored] for name, stored in names.items() if stored in said}
        if settings.get("bound") == "inf":  # as JSON has it
            settings["bound"] = math.inf
        try:
            specification = Specification(**{**settings, **read})
        except InputError as error:
            raise StoreError(f"{where}: its record does not fit its problem: {error}") from error
        here = {"optimizer": plain(describe(specification.optimizer))}
        if found := differences({"optimizer": said["optimizer"]}, here):
            raise StoreError(
                f"{where}: its sweep had another optimizer ({found}); give the one of the sweep: "
                f"optimizer=..."
            )
        return specification


def opened(store: str | Path, *, skip_damaged: bool = False) -> Recorded:
    """Open a stored sweep, each of its parts once.

    Args:
        store: folder of the store; it may be in use.
        skip_damaged: take a tile that is damaged for one that is not finished.

    Raises:
        StoreError: there is no store, or none of a sweep.
    """
    return Recorded(open_parts(store), skip_damaged=skip_damaged)


def parts_of(store: str | Path, *, skip_lost: bool = False) -> list[Recorded]:
    """The parts of a store, each a sweep of its own, in order; none where there is no store.

    Args:
        store: folder of the store.
        skip_lost: whether only those before a part that is missing are returned.

    Raises:
        StoreError: a part is missing, and nothing is to be skipped.
    """
    if read_attributes(store) is None:
        return []
    parts = map(Stored, part_paths(local(store))) if skip_lost else open_parts(store)
    return [Recorded([part]) for part in parts]


def identity_of(attributes: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """What a store says its sweep is, checked.

    Args:
        attributes: the store's.
        where: which store, for messages.

    Raises:
        StoreError: it is none of a sweep.
    """
    said = attributes.get("identity")
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
    "steps": lambda said: is_whole(said, 0, MOST),
    "batch_size": lambda said: said is None or is_whole(said, 1, MOST),
    "root": lambda said: is_whole(said, 0, MOST),
    "optimizer": lambda said: (
        isinstance(said, dict)
        and isinstance(said.get("name"), str)
        and isinstance(said.get("keywords"), dict)
    ),
    "flags": lambda said: said is None or isinstance(said, dict),
    "slab": lambda said: (
        isinstance(said, dict)
        and all(is_whole(said.get(name), 1, MOST) for name in ("width", "devices"))
    ),
}


def axes_of(said: Mapping[str, Any], where: Any) -> Axes:
    """The axes of a sweep from its identity.

    Raises:
        StoreError: they can be of no sweep.
    """
    try:
        return axes(**{dim: together(**along) for dim, along in said["axes"].items()})
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


def _measures(said: Any, problem: Problem, where: Any) -> dict[str, Measure]:
    measures = {}
    for name, cadence in said.items() if isinstance(said, Mapping) else ():
        if name not in problem.measures:
            raise StoreError(
                f"{where}: its sweep watched {name!r:.80}, which is no measure of the problem; "
                f"give a problem that has it: dataclasses.replace(problem, measures=...)"
            )
        every = cadence.get("every") if isinstance(cadence, Mapping) else cadence
        try:
            measures[name] = dataclasses.replace(problem.measures[name], every=every)
        except InputError as error:
            raise StoreError(f"{where}: its measure {name!r:.80}: {error}") from error
    return measures
