"""Tiles that contain several slabs, to store many runs in few files."""

import signal

import jax
import numpy as np
import pytest
import xarray as xr
from small_problems import network, same_bits

from gdjax.descent import block_loop
from gdjax.sweeps import axes, fit, slab_runner, sweep


def run(path, steps=40):
    return sweep(
        network(watched=True),
        axes(learning_rate=np.linspace(0.1, 0.4, 7), seed=range(3)),
        steps,
        batch_size=5,
        snapshot_every=20,
        devices=jax.local_devices()[:1],
        store=path,
    )


@pytest.fixture(scope="module")
def one_by_one(tmp_path_factory):
    """Return the result of `run` with one slab per tile."""
    return run(tmp_path_factory.mktemp("one") / "s").load()


@pytest.fixture
def gathered(monkeypatch):
    monkeypatch.setattr(fit, "MAX_GATHERED_FILES", 40)


def files(path):
    return sum("/c." in str(file) for file in path.rglob("*"))


@pytest.mark.long
@pytest.mark.usefixtures("gathered")
def test_larger_tiles_have_equal_values_in_fewer_files(tmp_path, one_by_one):
    with run(tmp_path) as dataset:
        assert dataset.attrs["tiles"] < one_by_one.attrs["tiles"] / 2
        assert files(tmp_path) <= 40 + len(dataset.coords)
        for name in one_by_one.data_vars:
            assert same_bits(dataset[name].values, one_by_one[name].values), name


@pytest.mark.long
@pytest.mark.usefixtures("gathered")
def test_an_interrupted_tile_resumes_at_its_unfinished_slab(tmp_path, one_by_one, monkeypatch):
    blocks, started = slab_runner.start_blocks, []

    def interrupted(program, values, device, state=None, **options):
        started.append(state is not None)
        for number, result in enumerate(blocks(program, values, device, state, **options)):
            if len(started) == 3 and number == 1:
                signal.raise_signal(signal.SIGINT)
            yield result

    monkeypatch.setattr(slab_runner, "start_blocks", interrupted)
    monkeypatch.setattr(block_loop, "record_capacity", lambda *_: 8)  # several blocks per slab
    with pytest.raises(KeyboardInterrupt, match="tiles are saved in"):
        run(tmp_path)
    (stored,) = (tmp_path / ".gdjax" / "checkpoints").iterdir()
    assert stored.name.startswith("0.")
    run(tmp_path)
    assert started[3:].count(True) == 1
    assert started[3]  # the unfinished slab resumes; earlier ones are not recomputed
    with xr.open_zarr(tmp_path, chunks=None) as dataset:
        for name in one_by_one.data_vars:
            assert same_bits(dataset[name].values, one_by_one[name].values), name
