"""The bundled digits, prepared and available data sets, and unknown names."""

import os
from pathlib import Path

import numpy as np
import pytest
from prepared_set import assert_holds, some, store

from gdjax.base.errors import DataError
from gdjax.data import load
from gdjax.data.sets import available
from tests.processes import python

# -- the bundled digits

FOLDER = Path(
    os.environ.get("TFDS_DATA_DIR", Path(__file__).parents[3] / "shared" / "tensorflow_datasets")
)
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def test_mnist5k_is_balanced_and_has_its_known_hash():
    dataset = load("mnist5k")
    assert dataset.train_images.shape == (4000, 28, 28)
    assert dataset.test_images.shape == (1000, 28, 28)
    assert {getattr(dataset, name).dtype for name in ARRAYS} == {np.dtype(np.uint8)}
    assert np.bincount(dataset.train_labels).tolist() == [400] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    assert len(set(dataset.train_labels[:100].tolist())) == 10
    # The hash is equal on Python 3.11 with NumPy 2.4 and on Python 3.13 with NumPy 2.5.
    assert dataset.hash == "f99be7864936db3f"
    assert np.sum(np.all(dataset.train_images == 0, axis=0)) == 132


def labelled(images, labels):
    """Return each image with its label as bytes."""
    return {image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True)}


@pytest.mark.long
def test_mnist5k_consists_of_distinct_training_images_of_tfds():
    if not (FOLDER / "mnist").is_dir():
        pytest.skip(f"no mnist in {FOLDER}")
    full, bundled = load("mnist", data_dir=str(FOLDER)), load("mnist5k")
    ours = [labelled(*bundled[1:3]), labelled(*bundled[3:5])]
    assert [len(part) for part in ours] == [4000, 1000]
    assert not ours[0] & ours[1]
    assert ours[0] | ours[1] <= labelled(full.train_images, full.train_labels)


# -- prepared sets


def test_the_data_folder_is_read_from_the_environment(tiny, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny[0]))
    assert_holds(load("tiny"), tiny[2])


def test_loading_prints_nothing_and_imports_tfds_lazily(tiny):
    code = (
        "import sys, logging\n"
        "from gdjax.data import load\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "before = sys.stdout, list(logging.root.handlers)\n"
        f"load('tiny', data_dir={str(tiny[0])!r})\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules\n"
        "assert before == (sys.stdout, logging.root.handlers)\n"
    )
    done = python("-c", code)
    assert (done.stdout, done.stderr) == ("", "")


def test_available_lists_the_known_and_the_prepared_data_sets_of_images(tiny, tmp_path):
    data_dir = tiny[0]
    store(data_dir / "letters" / "upper" / "2.0.0", some())
    store(data_dir / "words" / "1.0.0", some(), features={"text": {}})
    (data_dir / "mnist" / "3.0.1").mkdir(parents=True)  # damaged
    result = {entry.name: entry for entry in available(data_dir)}
    known, prepared = ["mnist5k", "mnist", "fashion_mnist", "kmnist"], {"tiny", "letters/upper"}
    assert set(result) == {*known, *prepared}
    assert {name for name in result if result[name].prepared} == {"mnist5k", *prepared}
    assert result["tiny"][1:] == (str(tiny[1]), True, 9, 6)
    assert result["mnist5k"][3:] == (4000, 1000)
    assert [entry.name for entry in available(tmp_path / "nowhere")] == known


@pytest.mark.parametrize(
    ("name", "advice"),
    [("fashion-mnist", "did you mean 'fashion_mnist'"), ("tny", "did you mean 'tiny'")]
    + [(name, "Expected mnist5k") for name in ("zzz", "", "../data/tiny", "/etc", "tiny/1.0.0")],
)
def test_an_unknown_name_raises_an_error_that_suggests_valid_names(tiny, name, advice):
    with pytest.raises(DataError, match=f"is unknown.*{advice}"):
        load(name, data_dir=tiny[0])
