"""Preparation by TFDS from generated original files, also if it fails."""

import concurrent.futures
import contextlib
import errno
import gzip
import hashlib
import io
import logging
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import requests
from original_files import URL, Served

from gdjax.base.errors import DataError
from gdjax.data import load, preparation, prepare

pytestmark = pytest.mark.usefixtures("module")

PREPARED = Path(
    os.environ.get("TFDS_DATA_DIR", Path(__file__).parents[3] / "shared" / "tensorflow_datasets")
)
# Script that prepares a data set until the first images are written, and then waits.
KILLED = """
import sys, time
from pathlib import Path
from gdjax.data import preparation
data_dir, originals = sys.argv[1:]
preparation.SOURCES["tiny"] = preparation.Source("tiny_set", "Tiny", {})
whole = preparation._FromArrays._generate_examples
def stuck(self, images, labels):
    for example in whole(self, images, labels):
        yield example
        if example[0] == 5:
            Path(data_dir, "reached").touch()
            time.sleep(60)
preparation._FromArrays._generate_examples = stuck
preparation.prepared("tiny", data_dir, originals)
"""


def assert_holds(dataset, images):
    """Compare images and labels as multisets, since TFDS changes their order."""
    for part, result in (("train", dataset[1:3]), ("t10k", dataset[3:5])):
        pairs = [
            Counter((image.tobytes(), int(label)) for image, label in zip(*arrays, strict=True))
            for arrays in (result, images[part])
        ]
        assert pairs[0] == pairs[1]


def test_a_data_set_is_prepared_from_original_files(images, originals, data_dir, capfd):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert folder == data_dir / "tiny" / "3.0.1"
    assert "tensorflow" not in sys.modules
    dataset = load("tiny", data_dir=data_dir)
    assert_holds(dataset, images)
    assert dataset.train_images.shape == (12, 28, 28)
    assert capfd.readouterr() == ("", "")
    assert {file.name for file in (data_dir / "tiny").iterdir()} == {"3.0.1"}
    assert {file.name for file in data_dir.iterdir()} == {"tiny"}


def test_tfds_reads_the_prepared_data_set(images, originals, data_dir):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    with preparation.quiet():
        import tensorflow_datasets as tfds

        source = tfds.builder_from_directory(folder).as_data_source("test")
        rows = [source[i] for i in range(len(source))]
    result = Counter((row["image"].tobytes(), int(row["label"])) for row in rows)
    assert result == Counter((i.tobytes(), int(k)) for i, k in zip(*images["t10k"], strict=True))


def test_load_downloads_a_missing_data_set(images, originals, data_dir, monkeypatch):
    served = Served(originals).install(monkeypatch)
    assert_holds(load("tiny", data_dir=data_dir), images)
    assert sorted(served.urls) == sorted(URL + file.name for file in originals.iterdir())
    load("tiny", data_dir=data_dir)
    prepare("tiny", data_dir=data_dir)
    assert len(served.urls) == 4


def test_only_the_output_of_the_preparing_thread_is_suppressed(capsys):
    from tensorflow_datasets.core.utils import tqdm_utils

    def settings():
        levels = [logging.getLogger(name).level for name in (None, "absl", "urllib3")]
        return sys.stdout, tqdm_utils._active, levels, list(logging.root.handlers)

    before = settings()
    with contextlib.suppress(DataError), preparation.quiet():
        print("TFDS")
        other = threading.Thread(target=print, args=("user",))
        other.start()
        other.join()
        raise DataError("a failed preparation")
    assert settings() == before
    assert capsys.readouterr().out == "user\n"


def test_only_one_of_two_simultaneous_preparations_is_kept(
    images, originals, data_dir, monkeypatch
):
    together = threading.Barrier(2, timeout=60)
    complete = Path.rename

    def slow(*arguments):
        together.wait()
        return complete(*arguments)

    monkeypatch.setattr(Path, "rename", slow)
    monkeypatch.setattr(preparation, "quiet", contextlib.nullcontext)  # `quiet` uses a lock
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        arguments = {"data_dir": data_dir, "manual_dir": originals}
        at_work = [threads.submit(prepare, "tiny", **arguments) for _ in range(2)]
    assert [each.result() for each in at_work] == [data_dir / "tiny" / "3.0.1"] * 2
    assert [file.name for file in (data_dir / "tiny").iterdir()] == ["3.0.1"]
    assert_holds(load("tiny", data_dir=data_dir), images)


def test_a_killed_preparation_leaves_no_partial_data_set(images, originals, data_dir, module):
    data_dir.mkdir()
    command = [sys.executable, "-c", KILLED, str(data_dir), str(originals)]
    path = os.pathsep.join([str(module), *sys.path])
    child = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while not (data_dir / "reached").exists() and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (left,) = (data_dir / "tiny").iterdir()
    assert preparation.find("tiny", data_dir) is None
    for file in (left, *left.rglob("*")):
        os.utime(file, (time.time() - 7200,) * 2)
    prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert_holds(load("tiny", data_dir=data_dir), images)
    assert {file.name for file in (data_dir / "tiny").iterdir()} == {"3.0.1"}


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_checksums_of_the_mnist_family_are_listed_for_all_files_or_none(name, tmp_path):
    with preparation.quiet():
        builder = preparation._builder(name, tmp_path)
        known = set(builder.url_infos)
    assert {f"{builder.URL}{file}.gz" for file in preparation.ORIGINALS} <= known
    assert builder.name == name
    assert set(preparation.SOURCES[name].contents) in (set(), set(preparation.ORIGINALS))


@pytest.mark.long
@pytest.mark.skipif(not (PREPARED / "mnist").is_dir(), reason=f"no prepared mnist in {PREPARED}")
def test_prepared_mnist_has_the_checksums_of_the_original_files(monkeypatch):
    """TFDS sorts rows by the MD5 of split and index; the original order is restored."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    digits = load("mnist", data_dir=PREPARED)
    for split, part, arrays in (("train", "train", digits[1:3]), ("test", "t10k", digits[3:5])):
        keys = [hashlib.md5(f"{split}{i}".encode()).digest() for i in range(len(arrays[0]))]
        order = np.argsort(np.array(keys, "S16"), kind="stable")
        for array, kind in zip(arrays, ("images-idx3-ubyte", "labels-idx1-ubyte"), strict=True):
            original = np.empty_like(array)
            original[order] = array
            head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            digest = hashlib.sha256(head + original.tobytes()).hexdigest()
            assert digest == preparation.SOURCES["mnist"].contents[f"{part}-{kind}"]


def test_gzip_files_with_equal_images_but_different_bytes_are_accepted(
    images, originals, data_dir, tmp_path
):
    other = tmp_path / "other"
    other.mkdir()
    for file in originals.iterdir():
        content = gzip.decompress(file.read_bytes())
        (other / file.name).write_bytes(gzip.compress(content, 1, mtime=1591347949))
        assert (other / file.name).read_bytes() != file.read_bytes()
    prepare("tiny", data_dir=data_dir, manual_dir=other)
    assert_holds(load("tiny", data_dir=data_dir), images)


@pytest.mark.parametrize("way", ["manual", "download"])
def test_a_terminal_shows_the_progress_of_a_preparation(way, originals, data_dir, monkeypatch):
    Served(originals).install(monkeypatch)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    prepare("tiny", data_dir=data_dir, manual_dir=originals if way == "manual" else None)
    displayed = sys.stderr.getvalue()
    assert re.search(r"preparing tiny: +0%.*0/12", displayed)
    assert (way == "download") == bool(re.search(r"downloading tiny: .*0%", displayed))


# -- failed preparations, which leave no files


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


@pytest.mark.parametrize("kind", [OSError, RuntimeError])  # of files and of the record writer
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
