"""Experiment trackers: one entry per run of a sweep, with settings and history."""

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "trackers.md"
RUNS = {(rate, seed) for rate in ("0.01", "0.1") for seed in ("0", "1")}
BLOCK = 32768  # bytes per block of a log in LevelDB's format
RUN = """
import doctest, sys
test = doctest.DocTestParser().get_doctest(sys.argv[1], {}, "trackers", None, 0)
runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
runner.run(test, clear_globs=False)
print(test.globs["folder"])
sys.exit(runner.summarize().failed)
"""


def run_section(title, tmp_path):
    """Run the examples of the introduction and of one section; return their folder."""
    first, *sections = PAGE.read_text("utf8").split("\n## ")
    (section,) = (text for text in sections if text.startswith(f"{title}\n"))
    done = subprocess.run(
        [sys.executable, "-c", RUN, first + section],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_mlflow_receives_each_run(tmp_path):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    folder = run_section("MLflow", tmp_path)
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        params = connection.execute("SELECT run_uuid, key, value FROM params").fetchall()
    runs = {run: {key: value for r, key, value in params if r == run} for run, _, _ in params}
    assert {(run["learning_rate"], run["seed"]) for run in runs.values()} == RUNS
    assert len(runs) == len(RUNS)


@pytest.mark.long
def test_tensorboard_reads_each_run(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    folder = run_section("TensorBoard", tmp_path)
    assert len(list((folder / "logs").iterdir())) == len(RUNS)


def records(file):
    """Yield the records of a log in LevelDB's format, after a header of 7 bytes."""
    raw, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(raw):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", raw[at : at + 7])
        record += raw[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a complete record, or its last part
            yield record
            record = b""


@pytest.mark.long
def test_offline_files_of_wandb_contain_each_run(tmp_path):
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="W&B is not installed")
    folder = run_section("W&B", tmp_path)
    settings = set()
    for file in folder.glob("wandb/offline-run-*/*.wandb"):
        config, steps, costs = {}, [], []
        for raw in records(file):
            record = messages.Record.FromString(raw)
            for item in record.run.config.update:
                config[item.key] = item.value_json
            for item in record.history.item:
                if "cost" in (item.key, *item.nested_key):
                    costs.append(float(item.value_json))
            if record.HasField("history"):
                steps.append(record.history.step.num)
        assert steps == [0, 10, 20]
        assert costs[0] > costs[1] > costs[2] > 0
        settings.add((config["learning_rate"], config["seed"]))
    assert settings == RUNS
