"""Experiment trackers: one entry per run of a sweep, with settings and history."""

import contextlib
import os
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "trackers.md"
BLOCK = 32768  # bytes per block of a log in LevelDB's format
RUN = """
import doctest, sys
test = doctest.DocTestParser().get_doctest(sys.argv[1], {}, "trackers", None, 0)
runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
runner.run(test, clear_globs=False)
print(test.globs["folder"])
sys.exit(runner.summarize().failed)
"""


def run_section(title, tmp_path, replaced="", replacement=""):
    """Run the examples of the introduction and of one section; return their folder.

    The text `replaced` is replaced by `replacement` in the section.
    """
    first, *sections = PAGE.read_text("utf8").split("\n## ")
    (section,) = (text for text in sections if text.startswith(f"{title}\n"))
    assert replaced in section
    section = section.replace(replaced, replacement)
    done = subprocess.run(
        [sys.executable, "-c", RUN, first + section],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("title", "package"), [("MLflow", "mlflow"), ("TensorBoard", "tensorboard")]
)
def test_histories_are_logged_and_read_back(title, package, tmp_path):
    pytest.importorskip(package, reason=f"{title} is not installed")
    run_section(title, tmp_path)


@pytest.mark.long
def test_an_mlflow_server_receives_each_run(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database, address = f"sqlite:///{tmp_path}/server.db", f"http://127.0.0.1:{port}"
    options = ["--backend-store-uri", database, "--host", "127.0.0.1", "--port", str(port)]
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--workers", "1", *options],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(120):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                break
            time.sleep(1)
        run_section("MLflow", tmp_path, "sqlite:///{folder}/mlflow.db", address)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    with contextlib.closing(sqlite3.connect(tmp_path / "server.db")) as connection:
        params = connection.execute("SELECT run_uuid, key, value FROM params").fetchall()
    runs = {run: {key: value for r, key, value in params if r == run} for run, _, _ in params}
    assert sorted((run["learning_rate"], run["seed"]) for run in runs.values()) == [
        (rate, seed) for rate in ("0.01", "0.1") for seed in ("0", "1")
    ]


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
    assert settings == {(rate, seed) for rate in ("0.01", "0.1") for seed in ("0", "1")}
