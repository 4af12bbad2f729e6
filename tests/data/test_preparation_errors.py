"""Failed preparations, which raise an error and leave no files."""

import errno
import gzip
import os
import shutil
import time
from pathlib import Path

import pytest
import requests
from original_files import URL, Served

from gdjax.data import load, preparation, prepare
from gdjax.errors import DataError

pytestmark = pytest.mark.usefixtures("module")


def test_a_missing_network_connection_raises_an_error(data_dir, originals, monkeypatch):
    Served(originals, error=requests.ConnectionError("no route")).install(monkeypatch)
    start = time.perf_counter()
    with pytest.raises(DataError) as error:
        load("tiny", data_dir=data_dir)
    assert time.perf_counter() - start < 3
    for part in ("tiny", URL, str(data_dir / "tiny"), "--manual-dir", "mnist5k needs no network"):
        assert part in str(error.value)
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1] + bytes([b[-1] ^ 1]),
        lambda b: gzip.compress(gzip.decompress(b)[:-1] + b"0"),
        lambda b: b[:-9],
        lambda b: b + b,
        lambda b: b"",
    ],
    ids=["flipped", "other", "cut", "twice", "empty"],
)
@pytest.mark.parametrize("way", ["manual", "download"])
def test_a_wrong_checksum_raises_an_error(way, damage, data_dir, originals, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong"
    shutil.copytree(originals, wrong)
    file = wrong / "train-labels-idx1-ubyte.gz"
    content = file.read_bytes()
    file.write_bytes(damage(content))
    Served(wrong).install(monkeypatch)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz of tiny.*wrong checksum"):
        prepare("tiny", data_dir=data_dir, manual_dir=wrong if way == "manual" else None)
    assert not data_dir.exists()


def test_missing_original_files_raise_an_error(data_dir, originals, tmp_path):
    few = tmp_path / "few"
    shutil.copytree(originals, few)
    (few / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"few has no t10k-images-idx3-ubyte\.gz; expected the or"):
        prepare("tiny", data_dir=data_dir, manual_dir=few)
    with pytest.raises(DataError, match="nowhere has no train-images-idx3-ubyte"):
        prepare("tiny", data_dir=data_dir, manual_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "kind", [OSError, RuntimeError]
)  # raised by files and by the record writer
def test_a_full_disk_during_the_preparation_raises_an_error(data_dir, originals, monkeypatch, kind):
    def full(*_):
        message = os.strerror(errno.ENOSPC)
        raise OSError(errno.ENOSPC, message) if kind is OSError else RuntimeError(message)
        yield

    monkeypatch.setattr(preparation._FromArrays, "_generate_examples", full)
    with pytest.raises(DataError, match=r"no space left in .*data to prepare tiny"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert not data_dir.exists()


def test_a_read_only_folder_raises_an_error_and_is_not_changed(data_dir, originals):
    data_dir.mkdir()
    data_dir.chmod(0o555)
    with pytest.raises(DataError, match=r"tiny is not in .*data, which is not"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert list(data_dir.iterdir()) == []


def test_preparing_a_damaged_data_set_again_raises_an_error(data_dir, originals):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    Path(folder / "features.json").write_text("{")
    with pytest.raises(DataError, match=r"features\.json is damaged"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
