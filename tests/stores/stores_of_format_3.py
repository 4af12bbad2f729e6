"""Script that created the store of format 3 in `formats/3/swept`.

The store was created with the flags of the test suite:

    PYTHONPATH=.:tests:tests/stores python -c \
        "import conftest, stores_of_format_3 as stores; stores.main('tests/stores/formats/3')"

`bits.json` in that folder has a hash of each variable that `open_dataset` returned then.
The store is a reference for the format, so it is not recreated when the code changes.
"""

import json
import shutil
from pathlib import Path

import jax
from stores_of_format_2 import MOMENTUM, bits_of

import gdjax as gd

RUN = {"batch_size": 8, "learning_rate": 0.5, "seed": 0}
"""Axis values of one run of the store."""


def make(path: Path) -> None:
    """Store a sweep of a digit network over two batch sizes, with snapshots."""
    digits = gd.problems.digits(widths=(1,), samples=24)
    grid = gd.axes(batch_size=[4, 8], learning_rate=[0.5, 2.0], seed=[0])
    gd.sweep(
        digits,
        grid,
        8,
        store=path,
        make_optimizer=MOMENTUM,
        record_every=4,
        snapshot_every=8,
        width=2,  # ty: ignore[unknown-argument]  (of that version)
        devices=jax.local_devices()[:1],
    )


def main(path: str) -> None:
    store = Path(path).absolute() / "swept"
    shutil.rmtree(store, ignore_errors=True)
    make(store)
    (store / ".gdjax" / "lock").unlink()
    (store.parent / "bits.json").write_text(json.dumps(bits_of(store), indent=1) + "\n")
    files = [file for file in store.rglob("*") if file.is_file()]
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files):,} bytes")
