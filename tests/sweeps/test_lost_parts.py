"""A store of several parts knows how many it has: none is lost unnoticed."""

import shutil

import jax
import numpy as np
import pytest
import zarr
from small_problems import same_bits

import gdjax as gd
from gdjax.errors import StoreError

BOWL = gd.problems.bowl([1.0, 10.0])
AT = {"learning_rate": 0.1, "seed": 0}


@pytest.fixture(scope="module")
def grown_once(tmp_path_factory):
    """A sweep of 2 x 2 runs that has grown to 2 x 3 runs of more steps."""
    path = tmp_path_factory.mktemp("grown") / "s"
    given = {"store": path, "width": 2, "devices": jax.local_devices()[:1]}
    gd.sweep(BOWL, gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1]), 4, continuable=True, **given)
    grid = gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1, 2])
    gd.sweep(BOWL, grid, 8, extend=True, **given)
    return path


@pytest.fixture
def grown(grown_once, tmp_path):
    return shutil.copytree(grown_once, tmp_path / "grown")


def parts(path):
    return sorted(int(part.name) for part in (path / "parts").iterdir())


def lose(path, part, how):
    folder = path / "parts" / str(part)
    shutil.rmtree(folder) if how == "folder" else (folder / "zarr.json").unlink()


@pytest.mark.parametrize("how", ["folder", "root"])
@pytest.mark.parametrize("place", [0, -1])
def test_a_lost_part_is_an_error_that_names_it(grown, place, how):
    lost = parts(grown)[place]
    lose(grown, lost, how)
    name = f"parts/{lost}/zarr.json"
    for call in (
        lambda: gd.open_dataset(grown),
        lambda: gd.resume(grown),
        lambda: gd.replay(grown, AT),
        lambda: gd.sweep(
            BOWL,
            gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1, 2]),
            8,
            store=grown,
            extend=True,
        ),
    ):
        with pytest.raises(StoreError, match=rf"a part of it is missing \({name}\)"):
            call()
    assert (name, "missing") in [(d.file, d.problem) for d in gd.verify(grown)]


def test_all_parts_lost(grown):
    shutil.rmtree(grown / "parts")
    with pytest.raises(StoreError, match=r"missing \(parts/1/zarr.json, parts/2/zarr.json"):
        gd.open_dataset(grown)


def test_a_whole_store_is_well(grown):
    assert gd.verify(grown) == []
    assert same_bits(gd.resume(grown), gd.open_dataset(grown))


def test_a_lost_value_of_a_static_axis_is_computed_anew(tmp_path):
    problem = gd.Problem(
        init=lambda key: jax.random.normal(key, ()),
        cost=lambda w, batch: ((batch - w) ** 2).mean(),
        data=np.arange(4, dtype=np.float32),
    )

    def run():
        grid = gd.axes(batch_size=[1, 2, 4], learning_rate=[0.1])
        return gd.sweep(problem, grid, 2, store=tmp_path / "s").load()

    whole = run()
    lose(tmp_path / "s", 2, "folder")
    with pytest.raises(StoreError, match=r"missing \(parts/2/zarr.json\)"):
        gd.resume(tmp_path / "s", problem=problem)
    assert same_bits(run(), whole)


def test_a_replay_compares_all_parts(grown):
    with gd.open_dataset(grown) as dataset:
        whole = dataset.sel(AT).load()
    again = gd.replay(grown, AT)
    assert again.equal
    assert same_bits(again.dataset.cost, whole.cost)
    assert again.dataset.step.values.tolist() == list(range(9))
    cost = zarr.open_array(grown / "cost", mode="r+")  # of the part that the store began with
    cost[1, 0, 2] += np.float32(0.5)
    again = gd.replay(grown, AT)
    assert (again.equal, again.first_step) == (False, 2)
    np.testing.assert_allclose(again.largest_difference, 0.5, rtol=1e-3)
