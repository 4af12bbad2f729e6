"""Run a script at two commits, in the environment of this process.

    with checked_out("HEAD~1") as then:  tables = run(script, {"HEAD~1": then, "here": ROOT})

Both runs use the current script; only the library is that of each commit.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "JAX_NUM_CPU_DEVICES": "2",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_COMPILATION_CACHE": "false",
    "JAX_COMPILATION_CACHE_DIR": "",
    "MPLBACKEND": "agg",
    "COLUMNS": "100",
}


def parser(doc: str) -> argparse.ArgumentParser:
    """Return the parser of the common command line arguments of the scripts."""
    created = argparse.ArgumentParser(description=doc.partition("\n")[0])
    created.add_argument("--against", metavar="COMMIT", help="commit to compare with")
    created.add_argument(
        "--only", default="", metavar="TEXT", help="run only cases whose names contain this text"
    )
    created.add_argument("--write", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    return created


@contextlib.contextmanager
def checked_out(commit: str) -> Generator[Path | None]:
    """Yield a folder with the files of a commit, or None if the commit is missing."""
    result = git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}", check=False).strip()
    if not result:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="gates-") as temporary:
        folder = Path(temporary) / "commit"
        git("worktree", "add", "--detach", "--quiet", str(folder), result)
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))


def git(*arguments: str, check: bool = True) -> str:
    """Run a command of Git in this repository, and return its output."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=check).stdout


def start(script: str, root: Path, arguments: Sequence[str], out: Path) -> subprocess.Popen:
    """Start a script that imports gdjax from a folder and writes JSON to `out`."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(root)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, script, *arguments, "--write", str(out)]
    return subprocess.Popen(command, cwd=out.parent, env=environment)


def run(script: str, roots: Mapping[str, Path], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a script concurrently with the library of each folder; return the results."""
    with tempfile.TemporaryDirectory(prefix="gates-") as temporary:
        outs = {name: Path(temporary) / str(i) / "out.json" for i, name in enumerate(roots)}
        for out in outs.values():
            out.parent.mkdir()
        started = [start(script, root, arguments, outs[name]) for name, root in roots.items()]
        failed = [process.wait() for process in started]
        if any(failed):
            raise SystemExit(f"{Path(script).name}: exited with {failed} for {', '.join(roots)}")
        return {name: json.loads(out.read_text()) for name, out in outs.items()}


def write(out: Path, results: Any) -> None:
    """Write the results of a script as JSON."""
    import gdjax

    if not Path(gdjax.__file__).is_relative_to(os.environ["PYTHONPATH"]):
        raise SystemExit(f"{gdjax.__file__} is not the library of {os.environ['PYTHONPATH']}")
    out.write_text(json.dumps(results))


def main(
    doc: str,
    script: str,
    table: Callable[[str], Mapping[str, str]],
    summary: Callable[[Mapping[str, str]], str] = lambda rows: f"{len(rows)} rows",
) -> None:
    """Print the table of this commit, or its differences from that of another commit.

    Args:
        doc: docstring of the script.
        script: path of the script.
        table: function that returns a row of text for each case whose name contains a given text.
        summary: function that returns a summary of the rows in one line.
    """
    options = parser(doc).parse_args()
    if options.write:
        write(options.write, table(options.only))
        return
    began = time.perf_counter()
    arguments = ["--only", options.only]
    if options.against is None:
        rows = run(script, {"here": ROOT}, arguments)["here"]
        lines = [*(f"{name}  {row}" for name, row in rows.items()), summary(rows)]
    else:
        with checked_out(options.against) as before:
            if before is None:
                print(
                    f"{Path(script).name}: this clone has no {options.against}; nothing to compare"
                )
                return
            tables = run(script, {options.against: before, "here": ROOT}, arguments)
        lines = difference(options.against, *tables.values())
        lines += [f"{side}: {summary(rows)}" for side, rows in tables.items()]
    print("\n".join([*lines, f"({time.perf_counter() - began:.0f} s)"]))


def difference(commit: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return lines with the rows that differ between two tables, and their number."""
    lines = []
    for name in {**before, **after}:
        rows = before.get(name), after.get(name)
        if rows[0] != rows[1]:
            lines.append(name)
            lines += [f"  {side}: {row}" for side, row in zip((commit, "here"), rows, strict=True)]
    same = sum(before.get(name) == row for name, row in after.items())
    lines.append(f"{same} rows equal those at {commit}, {len({**before, **after}) - same} differ")
    return lines
