"""Stores computed in parts by several processes equal those of one process bitwise."""

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import read_store, same_bits

import gdjax as gd
from gdjax.base import interrupts
from gdjax.base.errors import InputError, StoreError
from gdjax.cli.resume import parse_part
from gdjax.cli.sweep import Sweep as SweepCommand
from gdjax.stores.location import locate
from gdjax.stores.lock import acquire
from gdjax.stores.reader import verify
from gdjax.stores.schema import tile_name
from gdjax.stores.writer import PARTS, Tiles
from gdjax.sweeps.continued.parts import count_tiles
from tests.stores import servers

BOWL = gd.Sweep(
    gd.problems.bowl([1.0, 9.0]), gd.axes(learning_rate=np.geomspace(1e-3, 0.1, 120)), 5
)
LONG = gd.Sweep(
    gd.problems.few_digits(samples=30, widths=(4,)),
    gd.axes(learning_rate=np.geomspace(0.01, 1, 16), seed=range(8)),
    3000,
    record_every=250,
)
NAMES = ("slurmctld", "slurmd", "munged", "sbatch", "scontrol", "scancel")


@pytest.fixture(scope="module")
def whole():
    return gd.sweep(BOWL.problem, BOWL.axes, BOWL.num_steps)


@pytest.fixture
def written(monkeypatch):
    """Return a counter of the times that each tile is written."""
    count, write = Counter(), Tiles.write
    monkeypatch.setattr(
        Tiles, "write", lambda s, tile, a: (count.update([tile]), write(s, tile, a))
    )
    return count


def test_parts_of_any_number_in_any_order_equal_one_sweep_bitwise(tmp_path, whole, written):
    planned = gd.sweeps.plan(BOWL, tmp_path)
    assert (planned.num_runs, planned.num_parts, written) == (120, 60, Counter())
    assert 0 < planned.seconds_low < planned.seconds < planned.seconds_high
    assert (planned.widths, planned.num_slabs, planned.num_copies) == ((2,), 60, 0)
    assert f"{planned.num_slabs} slabs of 2 runs, " in str(planned)
    assert np.isnan(gd.open_dataset(tmp_path).cost).all()
    for part in ((2, 3), (2, 3), (1, 2), (7, 8), (0, 1)):
        runs = gd.resume(tmp_path, part=part)
    assert same_bits(runs.cost, whole.cost)
    assert set(written.values()) == {1}
    assert len(written) == planned.num_tiles
    assert count_tiles(tmp_path).values.tolist() == [[planned.num_tiles] * 2 + [0, 0]]
    assert verify(tmp_path) == []
    assert not [lock for lock in (tmp_path / PARTS).iterdir() if lock.name.isdecimal()]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "store = None, device = None, expected one of them"),
        ({"store": "runs", "device": "h100"}, "device = 'h100', expected one of them"),
        ({"device": "v5e"}, "device = 'v5e' is unknown; choose one of a100, h100"),
    ],
)
def test_a_plan_needs_a_store_or_the_name_of_a_gpu(options, match):
    with pytest.raises(InputError, match=match):
        gd.sweeps.plan(BOWL, **options)


def test_a_plan_counts_records(tmp_path):
    """A record has 200,000 times as many samples as a step, and takes longer than 200 steps."""
    problem = gd.Problem(
        init=lambda key: jnp.ones(20),
        cost=lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2),
        data=np.ones((200_000, 20), np.float32),
    )
    grid = gd.axes(learning_rate=[0.01, 0.02])
    spec = gd.Sweep(problem, grid, 1200, batch_size=1, record_every=200)
    fast = gd.sweeps.plan(dataclasses.replace(spec, record_samples=1), tmp_path / "fast")
    assert gd.sweeps.plan(spec, tmp_path / "slow").seconds > 1.3 * fast.seconds


def test_metrics_of_a_sweep_are_passed_again(tmp_path):
    metrics = {"size": lambda problem, w: jnp.sum(w**2)}
    spec = gd.Sweep(BOWL.problem, gd.axes(learning_rate=[0.1, 0.2]), 4, metrics=metrics)
    gd.sweeps.plan(spec, tmp_path)
    with pytest.raises(StoreError, match="pass metrics="):
        gd.resume(tmp_path)
    runs = gd.resume(tmp_path, metrics=metrics)
    expected = (runs.params.astype(float) ** 2).sum(runs.params.dims[1:])
    np.testing.assert_allclose(runs["size"].isel(step=-1), expected, rtol=1e-6)
    assert gd.replay(tmp_path, {"learning_rate": 0.2}, metrics=metrics).equal


def test_tiles_that_another_process_computes_are_skipped(tmp_path, whole, written):
    """While a part runs, another one takes the rest, and a whole sweep is refused."""
    gd.sweeps.plan(BOWL, tmp_path)
    with contextlib.closing(acquire(locate(tmp_path), f"{PARTS}/{tile_name((0,))}")):
        tmp_path.joinpath(PARTS, tile_name((4,))).touch()  # left by a process that was killed
        assert count_tiles(tmp_path, 3).to_dict("list") == {
            "tiles": [20, 20, 20],
            "finished": [0, 0, 0],
            "computing": [1, 0, 0],
            "interrupted": [0, 1, 0],
        }
        with pytest.warns(
            UserWarning, match=r"skipped the tiles that other processes compute \(1\)"
        ):
            runs = gd.resume(tmp_path, part=(0, 1))
        assert np.isnan(runs.cost[:2]).all()
        assert same_bits(runs.cost[2:], whole.cost[2:])
        with pytest.raises(StoreError, match="other processes are computing parts"):
            gd.resume(tmp_path)
    assert same_bits(gd.resume(tmp_path).cost, whole.cost)
    assert set(written.values()) == {1}
    assert not (tmp_path / PARTS).exists()


def test_the_part_of_a_task_is_that_of_its_array():
    slurm = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4"}
    slurm |= {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}
    assert parse_part("auto", slurm) == (3, 4)


def test_a_command_that_plans_leaves_only_the_store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    SweepCommand(store="s", widths=(2,), learning_rate="0.1", seed="0:2", plan=True).run()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("next: gdjax resume s --part 0/1")


def start(store, part, log=os.devnull, **environment):
    command = [sys.executable, "-m", "gdjax", "resume", str(store), "--part", part]
    settings = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "NPROC": "2"} | environment
    with Path(log).open("a") as output:
        return subprocess.Popen(command, env=settings, stdout=output, stderr=output)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Return the long sweep, computed by one process."""
    path = tmp_path_factory.mktemp("single") / "one"
    gd.sweeps.plan(LONG, path)
    assert start(path, "0/1").wait() == 0
    return read_store(path)


@pytest.mark.long
def test_interrupted_and_repeated_parts_equal_a_single_process_bitwise(tmp_path, single):
    """Of four parts, one is started twice and one never; others are interrupted or killed."""
    store, chance, parts = tmp_path / "s", random.Random(0), ("0/4", "1/4", "2/4", "1/4")
    gd.sweeps.plan(LONG, store)
    logs = [tmp_path / f"log{i}" for i in range(len(parts))]
    running = {i: start(store, part, logs[i]) for i, part in enumerate(parts)}
    while not count_tiles(store).computing.sum():
        time.sleep(0.1)
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        i = chance.choice(list(running))
        running[i].send_signal(number)
        status = running[i].wait()
        assert status in (0, interrupts.STATUS if number == signal.SIGINT else -number)
        if status == interrupts.STATUS:
            advice = f"Continue with: gdjax resume {store} --part {parts[i]}\n"
            assert advice in logs[i].read_text()
        running[i] = start(store, parts[i], logs[i])
        time.sleep(chance.uniform(0, 3))
    assert {process.wait() for process in running.values()} == {0}
    assert start(store, "0/1").wait() == 0  # takes over the part that was never started
    assert count_tiles(store).finished.sum() == count_tiles(store).tiles.sum()
    assert same_bits(read_store(store), single)
    assert verify(store) == []
    gd.resume(store)  # nothing is locked


@pytest.mark.long
@pytest.mark.parametrize("kind", ["s3", "az"])
def test_parts_in_a_bucket_equal_a_single_process_bitwise(tmp_path, single, kind):
    """One of two parts is started twice, and a lease is left by a process that was killed."""
    with servers.serve(kind, tmp_path) as server:
        store, cloud = f"{server.url}/s", {"s3": "AWS", "az": "AZURE_STORAGE"}[kind]
        texts = {name: text for name, text in server.options.items() if isinstance(text, str)}
        settings = {f"{cloud}_{name}".upper(): text for name, text in texts.items()}
        settings |= {"AWS_ALLOW_HTTP": "true", "AZURE_ALLOW_HTTP": "true"}
        location = locate(store, **server.options)
        gd.sweeps.plan(LONG, location)
        location.write(f"{PARTS}/{tile_name((0, 0))}", json.dumps({"until": 0}).encode())
        running = [start(store, part, **settings) for part in ("0/2", "1/2", "1/2")]
        assert {process.wait() for process in running} == {0}
        with gd.open_dataset(location) as runs:
            assert same_bits(runs.drop_vars("finished"), single)
        assert verify(location) == []
        assert location.sizes(PARTS) == {}


@pytest.fixture
def slurm(tmp_path):
    """Start Slurm on the loopback address, with one node."""
    if missing := [name for name in NAMES if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: apt-get install slurmctld slurmd munge")
    if os.geteuid() != 0:
        pytest.skip("needs the rights of root, with which slurmd starts jobs")
    folder, host = tmp_path / "slurm", socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    ports = [servers.free_port() for _ in range(2)]
    settings = {
        **{"ClusterName": "test", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmUser": "root"},
        **{"SlurmctldPort": ports[0], "SlurmdPort": ports[1], "AuthType": "auth/munge"},
        **{"AuthInfo": f"socket={folder}/munge.socket", "CredType": "cred/munge"},
        **{"StateSaveLocation": folder / "state", "SlurmdSpoolDir": folder / "spool"},
        **{"SlurmctldPidFile": folder / "slurmctld.pid", "SlurmdPidFile": folder / "slurmd.pid"},
        **{"SlurmctldLogFile": folder / "slurmctld.log", "SlurmdLogFile": folder / "slurmd.log"},
        **{"ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none"},
        **{"SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU"},
        **{"ReturnToService": 2, "JobAcctGatherType": "jobacct_gather/none", "MpiDefault": "none"},
        "NodeName": f"{host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN",
        "PartitionName": f"all Nodes={host} Default=YES MaxTime=INFINITE State=UP",
    }
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    (folder / "slurm.conf").write_text("".join(lines))
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}
    names = ("key-file=munge.key", "socket=munge.socket", "pid-file=munged.pid")
    names += ("log-file=munged.log", "seed-file=munged.seed")
    munge = ["munged", "--force", *(f"--{n.replace('=', f'={folder}/')}" for n in names)]
    for command in (munge, ["slurmctld"], ["slurmd"]):
        subprocess.run(command, check=True, env=environment)
    yield environment
    for file in folder.glob("*.pid"):
        os.kill(int(file.read_text()), signal.SIGTERM)


@pytest.mark.long
def test_an_array_of_jobs_of_slurm_computes_the_store_of_a_single_process(tmp_path, slurm, single):
    """Two of five tasks are put back into the queue while they run, and one is canceled."""

    def output(*command):
        return subprocess.check_output(command, env=slurm, text=True, timeout=60).strip()

    many = tmp_path / "many"
    gd.sweeps.plan(LONG, many)
    job = tmp_path / "job.sh"
    job.write_text(
        "#!/bin/sh\n#SBATCH --array=0-4\n#SBATCH --requeue\n"
        "export JAX_NUM_CPU_DEVICES=1 NPROC=2\n"
        f"cd {tmp_path}; {sys.executable} -m gdjax resume {many} --part auto\n"
    )
    number = output("sbatch", "--parsable", "-o", f"{tmp_path}/%a.log", str(job))
    deadline, disturbed = time.monotonic() + 300, 0
    while queued := output("squeue", "-h", "-r", "-o", "%K %T").splitlines():
        assert time.monotonic() < deadline, queued
        running = [line.split()[0] for line in queued if line.endswith(" RUNNING")]
        if disturbed < 3 and running and count_tiles(many).computing.sum():
            task = f"{number}_{running[-1]}"
            output(*(["scontrol", "requeue"] if disturbed < 2 else ["scancel"]), task)
            disturbed += 1
        for line in queued if disturbed else ():  # Slurm delays tasks that are put back by minutes
            if line.endswith(" PENDING"):
                task = f"JobId={number}_{line.split()[0]}"  # it may have started meanwhile
                subprocess.run(
                    ["scontrol", "update", task, "StartTime=now"], env=slurm, check=False
                )
        time.sleep(0.3)
    assert disturbed == 3
    assert start(many, "0/1").wait() == 0  # computes what the canceled task left
    assert same_bits(read_store(many), single)
    assert Path(tmp_path, "0.log").read_text().count("tiles are finished") >= 1
    assert jax.devices()[0].platform == "cpu"
