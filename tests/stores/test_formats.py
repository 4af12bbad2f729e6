"""Compatibility with stores that were written in earlier formats."""

import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import stores_of_format_3
import xarray
import zarr
from small_store import stamps
from stores_of_format_2 import OF_OWN_PROBLEM, STORES, bits_of, problem

import gdjax as gd
from gdjax.errors import StoreError
from gdjax.stores import Coordinate, Layout, Store, Variable, open_dataset, verify
from gdjax.stores.format_2 import current_array_name
from gdjax.stores.schema import seal

FORMATS = Path(__file__).parent / "formats"
COST = np.array([[3, 1], [2, np.inf]], np.float32)
LAYOUT = Layout(
    {"learning_rate": 3, "step": 2},
    {"learning_rate": 2},
    {"cost": Variable(("learning_rate", "step"), "float32", {"long_name": "cost", "units": "1"})},
    {"learning_rate": Coordinate(("learning_rate",), np.array([0.1, 0.2, 0.4]), {"units": "1"})},
)
BITS = json.loads((FORMATS / "2" / "bits.json").read_text())
RUNS = {
    "finished": {"learning_rate": 0.2, "seed": 3, "data_seed": 1},
    "unfinished": {"learning_rate": 0.01, "decay": 1e-4, "noise_seed": 0},
    "grown": {"learning_rate": 0.4, "seed": 1},
    "static": {"learning_rate": 0.5, "batch_size": 8},
    "continuable": {"learning_rate": 0.1, "seed": 1},
    "branched": {
        "learning_rate": 0.01,
        "seed": 1,
        "branch_step": 6,
        "perturbation": 0.5,
        "perturbation_seed": 1,
    },
}
"""Axis values of a finished run of each store."""


@pytest.fixture
def copy_of(tmp_path):
    """Return a function that copies a store, since writers change an opened store."""
    return lambda name: Path(shutil.copytree(FORMATS / name, tmp_path / name))


def own(name, **changed):
    """Return the `problem` argument for stores of a user-defined problem."""
    return {"problem": problem(**changed)} if name in OF_OWN_PROBLEM else {}


@jax.jit
def renamed(error):
    return error**2


def begin(path):
    return Store(path, LAYOUT, identity={"steps": 10}, writer={"device": "cpu"})


def contents(path):
    files = (file for file in path.rglob("*") if file.is_file() and file.name != "lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_a_store_of_format_1_is_rejected_with_a_one_line_error_and_not_changed(copy_of):
    path = copy_of("1")
    before = stamps(path)
    for opened in (begin, open_dataset, verify):
        with pytest.raises(StoreError) as caught:
            opened(path)
        assert str(caught.value) == (
            f"{path}: the store has format 1, but this version of gdjax writes format 3 and reads "
            f"formats 2 and 3; open it with the version of gdjax that wrote it, or run its sweep "
            f"again in a new store"
        )
    assert stamps(path) == before


def test_the_fixtures_of_format_2_are_small():
    files = [file for file in (FORMATS / "2").rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 2**20
    assert set(BITS) == set(RUNS) == set(STORES)


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_format_2_is_valid_and_has_bitwise_unchanged_values(copy_of, name):
    path = copy_of(f"2/{name}")
    before = stamps(path)
    assert gd.verify(path) == []
    named = {current_array_name(n): bits for n, bits in BITS[name].items()}
    assert bits_of(path) == {n: bits for n, bits in named.items() if not n.startswith("carry.")}
    assert stamps(path) == before


@pytest.mark.parametrize("name", ["finished", "unfinished", "continuable"])
def test_xarray_reads_a_single_part_store_of_format_2(copy_of, name):
    path = copy_of(f"2/{name}")
    with xarray.open_zarr(path) as plain, gd.open_dataset(path) as dataset:
        for variable in (n for n in BITS[name] if not n.startswith("carry.")):
            name_here = current_array_name(variable)
            np.testing.assert_array_equal(plain[variable], dataset[name_here])


@pytest.mark.parametrize("name", STORES)
def test_outcomes_of_a_store_of_format_2_have_the_current_names(copy_of, name):
    with (
        xarray.open_zarr(FORMATS / "2" / name) as plain,
        gd.open_dataset(copy_of(f"2/{name}")) as new,
    ):
        assert plain.outcome.attrs["flag_meanings"] == "descending converged dead diverged"
        assert new.outcome.attrs["flag_meanings"] == "not_converged converged stalled diverged"
        assert new.outcome.attrs["flag_values"] == plain.outcome.attrs["flag_values"]


@pytest.mark.exhaustive
@pytest.mark.long
@pytest.mark.parametrize("name", STORES)
def test_a_store_of_format_2_is_replayed(copy_of, name):
    again = gd.replay(copy_of(f"2/{name}"), RUNS[name], **own(name))
    assert again.at.items() >= RUNS[name].items()
    assert again.equal or again.changed
    if name != "unfinished" or again.changed.keys() <= {
        "flags"
    }:  # rounding errors may grow over 8,000 steps
        assert again.largest_difference < 0.01


def test_replay_compares_all_parts_of_a_store_of_format_2(copy_of):
    path, at = copy_of("2/grown"), RUNS["grown"]
    cost = zarr.open_array(path / "cost", mode="r+")  # array of the first part of the store
    before = gd.replay(path, at).largest_difference
    cost[1, 1, 0] += np.float32(0.5)
    again = gd.replay(path, at)
    assert (again.equal, again.first_step) == (False, 0)
    np.testing.assert_allclose(again.largest_difference, 0.5, atol=1e-3 + before)
    assert again.dataset.step.values.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.long
def test_a_replay_reports_a_different_program_text(copy_of):
    at, path = RUNS["finished"], copy_of("2/finished")
    same, other = (gd.replay(path, at, **own("finished", **p)) for p in ({}, {"square": renamed}))
    assert set(other.changed) == {*same.changed, "program_hash"}
    assert other.equal == same.equal
    stored, here = other.changed["program_hash"]
    assert stored != here
    np.testing.assert_array_equal(other.dataset.cost, same.dataset.cost)


@pytest.mark.parametrize("name", STORES)
def test_a_store_of_format_2_is_not_written_to(copy_of, name):
    path = copy_of(f"2/{name}")
    before = contents(path)
    if name == "unfinished":
        with pytest.raises(
            StoreError, match="has format 2, which this version of gdjax can read but not"
        ):
            gd.resume(path, **own(name))
    else:
        with gd.resume(path, **own(name)) as dataset:  # no tile is missing
            assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"]
    assert contents(path) == before


@pytest.mark.long
def test_an_unfinished_store_of_format_2_is_completed_in_a_new_store(copy_of, tmp_path):
    path = copy_of("2/unfinished")
    before, files = gd.open_dataset(path).load(), contents(path)
    after = gd.extend(path, to=tmp_path / "new", **own("unfinished")).load()
    assert contents(path) == files
    assert after.finished.values.all()
    assert gd.verify(tmp_path / "new") == []
    done = before.finished.values > 0
    assert done.sum() == 2
    for name, values in before.data_vars.items():
        if name != "finished":
            np.testing.assert_array_equal(after[name].values[done], values.values[done])
    writers = json.loads(after.attrs["writers"])
    assert writers[:1] == json.loads(before.attrs["origins"])


def test_a_continuable_store_of_format_2_takes_more_steps(copy_of, tmp_path):
    more = gd.extend(copy_of("2/continuable"), None, 12, to=tmp_path / "new").load()
    few = gd.open_dataset(FORMATS / "2" / "continuable").load()
    assert more.step.values.tolist() == [0, 4, 8, 12]
    np.testing.assert_array_equal(more.cost[..., :2], few.cost[..., :2])


def test_a_store_with_several_parts_cannot_be_extended(copy_of, tmp_path):
    with pytest.raises(StoreError, match="format 2 with several parts cannot be extended"):
        gd.extend(copy_of("2/grown"), to=tmp_path / "new")


@pytest.mark.parametrize(("name", "part"), [("grown", 1), ("grown", 2), ("static", 1)])
def test_a_part_without_root_metadata_is_named_in_the_error(copy_of, name, part):
    """If the number of parts is recorded, a missing last part is detected as well."""
    path = copy_of(f"2/{name}")
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["num_parts"] = 1 + len(list((path / "parts").iterdir()))
    (path / "zarr.json").write_bytes(seal(root))
    (path / "parts" / str(part) / "zarr.json").unlink()
    assert [damage.file for damage in gd.verify(path)] == [f"parts/{part}/zarr.json"]
    for read in (gd.open_dataset, gd.resume):
        with pytest.raises(StoreError, match=rf"a part of it is missing \(parts/{part}/zarr.json"):
            read(path)


def test_a_part_that_is_a_link_is_rejected(copy_of, tmp_path):
    path = copy_of("2/grown")
    (path / "parts").rename(tmp_path / "elsewhere")
    (path / "parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a symbolic link, which a store must not contain"):
        gd.open_dataset(path)


def test_a_store_written_by_hand_in_format_2_is_read(copy_of):
    path = copy_of("2/by_hand")
    assert verify(path) == []
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.cost, [*COST, [np.nan, np.nan]])
        assert dataset.learning_rate.values.tolist() == [0.1, 0.2, 0.4]
        assert dataset.finished.values.tolist() == [1, 1, 0]
    with pytest.raises(
        StoreError, match="has format 2, which this version of gdjax can read but not write"
    ):
        begin(path)


def write_by_hand(path):
    with begin(path) as store:
        store.write((0,), {"cost": COST})
        store.save_checkpoint((1,), {"w": np.arange(3.0)}, {"step": 5})


def test_stores_of_format_3_are_written_with_unchanged_bytes(tmp_path):
    write_by_hand(tmp_path / "s")
    assert contents(tmp_path / "s") == contents(FORMATS / "3" / "by_hand")


def test_a_store_of_format_3_is_read_and_continued(copy_of):
    path = copy_of("3/by_hand")
    assert verify(path) == []
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.cost, [*COST, [np.nan, np.nan]])
    with begin(path) as store:
        arrays, meta = store.load_checkpoint((1,))
        assert (arrays["w"].tolist(), meta) == ([0, 1, 2], {"step": 5})
        store.write((1,), {"cost": COST[:1]})
        assert store.finished().all()
    with xarray.open_zarr(path) as plain:
        np.testing.assert_array_equal(plain.cost, [*COST, COST[0]])


def test_a_store_of_format_3_is_small_valid_and_has_bitwise_unchanged_values(copy_of):
    path = copy_of("3/swept")
    before = stamps(path)
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 100_000
    assert gd.verify(path) == []
    assert bits_of(path) == json.loads((FORMATS / "3" / "bits.json").read_text())
    with xarray.open_zarr(path) as plain, gd.open_dataset(path) as dataset:
        assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"] == 2
        for name in dataset.data_vars:
            np.testing.assert_array_equal(plain[name], dataset[name])
    assert stamps(path) == before


def test_a_store_of_format_3_is_replayed(copy_of):
    again = gd.replay(copy_of("3/swept"), stores_of_format_3.RUN)
    assert again.at.items() >= stores_of_format_3.RUN.items()
    assert again.equal or again.changed
    assert again.largest_difference < 0.01


def test_resuming_a_store_of_format_3_reports_only_different_programs_and_flags(copy_of):
    """Programs and flags depend on the version; the rest of the record must match."""
    path = copy_of("3/swept")
    before = contents(path)
    message = ""
    try:
        dataset = gd.resume(path)
        assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"]
    except StoreError as error:
        message = str(error)
    names = re.findall(r"(?:sweep: |; )([a-z_]+)[a-z_.]*: stored", message)
    assert set(names) <= {"slab", "program_hash", "problem_hash", "flags"}, message
    assert bool(names) == bool(message)
    assert contents(path) == before
