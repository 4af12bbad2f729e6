"""Malicious or broken stores, simulated by mutations of complete stores.

    PYTHONPATH=. python tests/stores/test_mutants.py [number of mutants]

Each mutant is opened, verified, replayed and resumed. It either opens or raises a one-line
StoreError. An audit hook checks that nothing is run, imported or written outside the store.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import jax
import pytest
from mutants import KINDS, Files, as_files, checkpoint, harmless, write
from small_store import ENVIRONMENT

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.descent import block_loop
from gdjax.stores.reader import Stored
from gdjax.sweeps import axes, fit, identity, slab_runner, sweep
from tests.processes import python

SECONDS = 120  # time limit for a mutant


@pytest.mark.long
def test_mutants_open_or_raise_a_one_line_error(tmp_path):
    environment = ENVIRONMENT | {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    # Mutants are tried in another process, since an audit hook cannot be removed.
    assert python(__file__, 200, env=environment, cwd=tmp_path).stderr == ""


def originals(folder: Path) -> list[Files]:
    """Return two stores: a complete one, and one interrupted in its second tile."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings: dict[str, Any] = {"snapshot_every": 3, "devices": jax.local_devices()[:1]}
    fit.CPU_WIDTHS = ((2, 2**60),)  # two slabs
    grid = axes(learning_rate=[0.01, 0.1], seed=range(2))
    bowl = gd.problems.bowl([1.0, 9.0])
    block_loop.record_capacity = lambda *_: 3  # several blocks despite the few steps
    sweep(bowl, grid, 6, store=folder / "whole", **settings)
    blocks, slabs = slab_runner.start_blocks, []

    def interrupted(*arguments, **keywords):
        slabs.append(1)
        for result in blocks(*arguments, **keywords):
            if len(slabs) == 2:
                signal.raise_signal(signal.SIGINT)
            yield result

    slab_runner.start_blocks = interrupted
    with contextlib.suppress(KeyboardInterrupt):
        sweep(bowl, grid, 6, store=folder / "halfway", **settings)
    slab_runner.start_blocks = blocks
    stores = [as_files(folder / name) for name in ("whole", "halfway")]
    assert any("/checkpoints/" in name for name in stores[1])
    return stores


class AuditHook:
    """Audit hook that records forbidden events while a store is in use."""

    RUNS = (
        "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
        "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "urllib.Request",
        "pickle.find_class", "webbrowser.open", "ftplib.connect", "os.startfile", "os.symlink",
    )  # fmt: skip
    CHANGES = (
        "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.truncate",
        "os.chmod", "os.chown", "shutil.rmtree", "shutil.move",
    )  # fmt: skip

    def __init__(self, allowed):
        self.allowed = [os.path.realpath(path) for path in allowed]
        self.noted: list[str] = []
        self.on = False
        self.known: set[str] = set()
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if not self.on:
            return
        if event in self.RUNS:
            self.noted.append(f"{event} {arguments!r:.200}")
        elif event == "import" and arguments[0].split(".")[0] not in self.known:
            self.noted.append(f"import {arguments[0]}")
        elif event == "compile" and b"victim" in _bytes(arguments[0]):
            self.noted.append(f"compile {arguments[0]!r:.200}")
        elif event == "open":
            path, _, flags = arguments
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            if isinstance(path, str | bytes) and (
                (flags or 0) & writes or b"victim" in _bytes(path)
            ):
                self.check(event, path)
        elif event in self.CHANGES:
            at = arguments[-1] if isinstance(arguments[-1], int) and arguments[-1] > 2 else None
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike):
                    self.check(event, path, at)

    def check(self, event, path, at=None):
        path = os.fsdecode(path)
        if at is not None and not path.startswith("/"):
            path = f"{Path(f'/proc/self/fd/{at}').readlink()}/{path}"
        head, tail = os.path.split(path)
        # Opening a file follows links; renaming and removing do not.
        real = os.path.realpath(path) if event == "open" else f"{os.path.realpath(head)}/{tail}"
        if not any(real == a or real.startswith(f"{a}/") for a in self.allowed):
            self.noted.append(f"{event} {path!r} -> {real!r}")


def _bytes(text):
    return text if isinstance(text, bytes) else str(text).encode(errors="replace")


def use(path: Path) -> None:
    """Verify, open and read a store, and replay one of its runs."""
    gd.stores.verify(path)
    try:
        with gd.open_dataset(path) as dataset:
            dataset.load()
    except StoreError:
        with gd.open_dataset(path, skip_damaged=True) as dataset:
            dataset.load()
        raise
    Stored(path).finished()
    gd.sweeps.run_of(path, {"learning_rate": 0.01, "seed": 0})
    gd.replay(path, {"learning_rate": 0.01, "seed": 0})


def complete(path: Path) -> None:
    gd.resume(path)


def file_states(path: Path) -> dict[str, tuple]:
    """Return the mode, inode, size and mtime of every entry of a folder."""
    stats = {str(child): os.lstat(child) for child in sorted(path.rglob("*"))}
    return {name: (s.st_mode, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats.items()}


class TimeLimit(BaseException):
    """The use of a mutant exceeded the time limit."""


def outcome(act, path) -> tuple[str, str]:
    """Return the result of an action as a word, and the text of its error."""

    def late(*_):
        raise TimeLimit

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        act(path)
    except StoreError as error:
        message = str(error)
        return ("StoreError" if message.isprintable() else "unprintable"), message
    except BaseException as error:
        return f"{type(error).__name__}", "".join(traceback.format_exception(error)[-4:])
    finally:
        signal.alarm(0)
    return "opens", ""


def main(count: int, seed: int = 17) -> list[str]:
    """Try mutants of all kinds, and return failures and forbidden events."""
    identity.revision = lambda: "unknown"  # the original calls git, which the hook would record
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    wrong = []
    with tempfile.TemporaryDirectory() as created:
        home = Path(created).resolve()
        mutant, victims = home / "mutant", home / "elsewhere"
        base = originals(home)
        allowed = [mutant, "/dev/null"]
        if cache := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            allowed.append(cache)
        watch = AuditHook(allowed)
        sys.dont_write_bytecode = True  # the hook would record writing of bytecode
        for files in base:  # import lazily loaded modules before recording
            write(files, mutant)
            for act in (use, complete):
                assert outcome(act, mutant)[0] == "opens", outcome(act, mutant)
            shutil.rmtree(mutant)
        watch.known = {name.split(".")[0] for name in sys.modules}
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            files = Files(base[1] if kind is checkpoint else rng.choice(base))
            victims.mkdir(exist_ok=True)
            victim = victims / "victim"
            victim.write_text("precious")
            os.chdir(victims)
            with contextlib.suppress(FileNotFoundError):
                kind(files, rng)
            write(files, mutant)
            valid = ("opens",) if kind is harmless else ("opens", "StoreError")
            for act in (use, complete):
                before = file_states(mutant)
                watch.on = True
                end, message = outcome(act, mutant)
                watch.on = False
                if end not in valid:
                    watch.noted.append(f"{end}: {message}")
                if act is use and file_states(mutant) != before:
                    watch.noted.append("a reader changed the store")
            shutil.rmtree(mutant)
            if [*victims.iterdir()] != [victim] or victim.read_text() != "precious":
                watch.noted.append("a file outside the store was changed")
                shutil.rmtree(victims)
            wrong += [f"{number} {kind.__name__}: {noted}" for noted in watch.noted]
            watch.noted.clear()
        os.chdir(home.parent)
    return wrong


if __name__ == "__main__":
    failures = main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
    print(*failures, sep="\n")
    sys.exit(bool(failures))
