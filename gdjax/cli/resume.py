"""`gdjax resume` and `gdjax replay`: commands on the store of a sweep."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from gdjax.base import interrupts, process, results
from gdjax.base.errors import InputError
from gdjax.cli.options import StoredRuns, check_store, format_value, resume_command
from gdjax.cli.problem_file import ProblemOption, load_problem

StorePath = Annotated[str, tyro.conf.Positional, check_store]


@dataclass(frozen=True)
class Resume:
    """Finish an interrupted sweep; stored runs are not recomputed."""

    store: StorePath
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""
    problem: ProblemOption = None
    """Problem of the sweep, if it is user-defined."""
    allow_unverified: bool = False
    """Go on if a version, a numeric flag or a function of the host cannot be compared."""
    part: Annotated[str | None, tyro.conf.arg(metavar="K/N")] = None
    """Compute only every N-th group of tiles, from the K-th on, counted from 0, while other
    processes compute the others. auto takes K and N from Slurm or Kubernetes."""
    status: bool = False
    """Compute nothing; count the tiles that are finished, being computed, and interrupted, with
    --part for each of the N parts."""
    out: Path | None = None
    """Folder for summary and figures; by default, the parent folder of the store if it contains
    only results of this sweep, otherwise results/resume/<hash of these settings>."""

    def run(self) -> None:
        """Compute the missing runs, write summary and figures, then print the table."""
        part = None if self.part is None else parse_part(self.part, os.environ)
        process.configure()
        from gdjax.sweeps import resume
        from gdjax.sweeps.continued.parts import count_tiles

        problem: dict[str, Any] = {
            "problem": load_problem(self.problem),
            "allow_unverified": self.allow_unverified,
        }
        if not self.status:
            command = resume_command(self.store, self.problem)
            with interrupts.resumable(command if part is None else f"{command} --part {self.part}"):
                runs = resume(self.store, part=part, **problem)
        if self.status or part is not None:
            num_parts = part[1] if self.status and part is not None else 1
            counts = count_tiles(self.store, num_parts, **problem)
            if num_parts > 1:
                print(counts.to_string())
            total = counts.sum()
            print(
                f"{total.finished} of {total.tiles} tiles are finished; groups of tiles being "
                f"computed: {total.computing}, interrupted: {total.interrupted}"
            )
            return
        from gdjax.cli.report import own_folder, report_sweep  # after the sweep: matplotlib is slow

        beside = None if "://" in self.store else own_folder(Path(self.store), runs)
        folder = results.folder("resume", self, self.out or beside)
        report_sweep(runs, folder, self, self.store)


def parse_part(text: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """Return the number of a part and the number of parts.

    Examples:
        >>> parse_part("3/100", {})
        (3, 100)
        >>> parse_part("auto", {"JOB_COMPLETION_INDEX": "3", "JOB_COMPLETION_COUNT": "8"})
        (3, 8)
    """
    pair, variable = text, environment.get
    if text == "auto":
        number, count = variable("JOB_COMPLETION_INDEX"), variable("JOB_COMPLETION_COUNT")
        if task := variable("SLURM_ARRAY_TASK_ID"):
            first, step = variable("SLURM_ARRAY_TASK_MIN", 0), variable("SLURM_ARRAY_TASK_STEP", 1)
            number = (int(task) - int(first)) // int(step)
            count = variable("SLURM_ARRAY_TASK_COUNT")
        pair = f"{number}/{count}"
    numbers = re.fullmatch(r"(\d+)/(\d+)", pair)
    if numbers is None or int(numbers[1]) >= int(numbers[2]):
        raise InputError(
            f"--part {text}: expected K/N with K from 0 to N - 1, such as 3/100; auto needs "
            f"SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, or JOB_COMPLETION_INDEX and "
            f"JOB_COMPLETION_COUNT, in the environment"
        )
    return int(numbers[1]), int(numbers[2])


@dataclass(frozen=True)
class Replay(StoredRuns):
    """Recompute one run of a sweep, and compare it with the stored run.

    The exit status is 0 if the two are bitwise equal, and 1 otherwise. If they differ, the first
    step at which they differ and the largest difference are printed.
    """

    store: StorePath = field()
    """Zarr store of a sweep: a folder, or a URL such as s3://bucket/runs.zarr."""

    def run(self) -> None:
        """Recompute the run, and print the comparison."""
        process.configure()
        from gdjax.sweeps import replay

        comparison = replay(self.store, **self.selection())
        run = " ".join(f"{axis}={format_value(value)}" for axis, value in comparison.at.items())
        if comparison.equal:
            print(f"{run}: bitwise equal")
        else:
            print(
                f"{run}: differs from step {comparison.first_step} on; the largest difference is "
                f"{comparison.largest_difference:.3g}"
            )
        print(results.next_command("landscape", *self.flags()))
        if not comparison.equal:
            raise SystemExit(1)
