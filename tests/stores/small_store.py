"""A small sweep with known arrays.

Five learning rates and three seeds are stored in tiles of two by two runs, so the last tiles along
both axes are partial. All costs of one tile are NaN, and one run has diverged.
"""

import os
from pathlib import Path

import numpy as np

from gdjax.base.arrays import Array, Schema
from gdjax.stores.writer import Store

RATES, SEEDS, RECORDS = 5, 3, 4
TILES = (3, 2)
HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1]))),
    "OPENBLAS_NUM_THREADS": "1",
}
"""Environment of processes that import this module."""
IDENTITY = {"config": {"steps": 300, "batch_size": None}, "data_hash": "b5d4", "root_seed": 0}
WRITER = {"device": "cpu", "slab_width": 4}


def schema(rates=None) -> Schema:
    grid = ("learning_rate", "seed")
    rates = np.geomspace(0.1, 30, RATES) if rates is None else rates
    codes = {"not_converged": 0, "diverged": 1}
    return Schema(
        sizes={"learning_rate": RATES, "seed": SEEDS, "step": RECORDS, "pixel": 3, "unit": 2},
        tile={"learning_rate": 2, "seed": 2},
        arrays={
            "cost": Array("cost", (*grid, "step"), dtype=np.float32),
            "outcome": Array("", grid, codes=codes, dtype=np.int8, fill=-1),
            "params.0.weights": Array("", (*grid, "pixel", "unit"), dtype=np.float64),
            "params.0.used": Array("", (*grid, "unit"), dtype=np.bool_),
        },
        coordinates={
            "learning_rate": Array("learning rate", ("learning_rate",)),
            "seed": Array("", ("seed",)),
            "step": Array("", ("step",)),
            "momentum": Array("", ("learning_rate",)),
        },
        values={
            "learning_rate": rates,
            "seed": np.arange(SEEDS),
            "step": np.arange(RECORDS) * 100,
            "momentum": np.linspace(0, 0.9, RATES, dtype="f4"),
        },
    )


def all_values() -> dict[str, np.ndarray]:
    """Return the values of every variable on the complete grid."""
    random = np.random.default_rng(7)
    cost = random.normal(size=(RATES, SEEDS, RECORDS)).astype(np.float32)
    cost[2:4, 0:2] = np.nan
    cost[4, 2, 1:] = np.inf
    return {
        "cost": cost,
        "outcome": np.isinf(cost[..., -1]).astype(np.int8),
        "params.0.weights": random.normal(size=(RATES, SEEDS, 3, 2)),
        "params.0.used": random.integers(2, size=(RATES, SEEDS, 2)).astype(np.bool_),
    }


def part(store, tile) -> dict[str, np.ndarray]:
    """Return the values of every variable in one tile, cropped to the grid."""
    return {name: values[store.schema.region(tile)] for name, values in all_values().items()}


def open_store(path, **changed) -> Store:
    return Store(path, schema(), identity={**IDENTITY, **changed}, writer=WRITER)


def fill(path) -> list[tuple[int, ...]]:
    """Write the missing tiles, and return their indices."""
    with open_store(path) as store:
        store.repair()
        missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
        for tile in missing:
            store.write(tile, part(store, tile))
    return missing


def equals_all_values(path) -> bool:
    """Return whether the values that xarray reads equal the written ones bitwise."""
    import xarray as xr

    with xr.open_zarr(path, chunks=None) as dataset:
        return all(
            dataset[name].values.tobytes() == v.tobytes() for name, v in all_values().items()
        )


def stamps(path) -> dict[str, tuple[int, int]]:
    """Return the inode and mtime of each file, to detect rewritten files."""
    return {
        str(file.relative_to(path)): (file.stat().st_ino, file.stat().st_mtime_ns)
        for file in path.rglob("*")
        if file.is_file()
    }


def files_of(tile) -> set[str]:
    i, j = tile
    own = {"cost": ".0", "outcome": "", "params.0.weights": ".0.0", "params.0.used": ".0"}
    chunks = {f"{name}/c.{i}.{j}{rest}" for name, rest in {**own, "finished": ""}.items()}
    return chunks | {f".gdjax/tiles/{i}.{j}"}
