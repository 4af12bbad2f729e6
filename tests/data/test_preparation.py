"""Preparing by TFDS itself, from original files that are made here, with their own checksums."""

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
import types
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import requests

from gdjax.data import load, preparation, prepare
from gdjax.errors import DataError

PREPARED = Path(
    os.environ.get("TFDS_DATA_DIR", Path(__file__).parents[3] / "shared" / "tensorflow_datasets")
)
URL = "http://digits.invalid/"
# A set of the MNIST family, as TFDS would have it, that knows the checksums of ORIGINALS.
MODULE = """
import hashlib, os
from pathlib import Path
from tensorflow_datasets.core import utils
from tensorflow_datasets.core.download.checksums import UrlInfo
from tensorflow_datasets.image_classification import mnist

def known(file):
    content = file.read_bytes()
    return UrlInfo(utils.Size(len(content)), hashlib.sha256(content).hexdigest(), file.name)

originals = sorted(Path(os.environ["ORIGINALS"]).iterdir())

class Tiny(mnist.MNIST, skip_registration=True):
    URL = "http://digits.invalid/"
    url_infos = {f"http://digits.invalid/{file.name}": known(file) for file in originals}
"""
# Prepares until the first images are written, then waits to be killed.
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


def pack(array):
    """A gzipped idx file: two zeros, 8 for bytes, the number of axes, their lengths, the data."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n).astype(np.uint8))
        for part, n in (("train", 12), ("t10k", 7))
    }


@pytest.fixture(scope="module")
def originals(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for part, (pixels, labels) in images.items():
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(pack(pixels))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(pack(labels))
    return folder


@pytest.fixture(autouse=True)
def module(originals, tmp_path, monkeypatch):
    """The folder of the module with the set `tiny`, which `prepare` then knows."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "tiny_set.py").write_text(MODULE)
    monkeypatch.setenv("ORIGINALS", str(originals))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tiny_set", raising=False)
    contents = {
        file.stem: hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest()
        for file in originals.iterdir()
    }
    source = preparation.Source("tiny_set", "Tiny", contents)
    monkeypatch.setitem(preparation.SOURCES, "tiny", source)
    return folder


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"


def assert_holds(dataset, images):
    """Rows come in TFDS's order, so they are compared as pairs of image and label."""
    for part, found in (("train", dataset[1:3]), ("t10k", dataset[3:5])):
        pairs = [
            Counter((image.tobytes(), int(label)) for image, label in zip(*arrays, strict=True))
            for arrays in (found, images[part])
        ]
        assert pairs[0] == pairs[1]


def nothing_left(data_dir):
    """Whether neither a file nor a folder is left of a preparation that failed."""
    return not data_dir.exists()


class Served:
    """Answers to downloads: the original files, or a failure."""

    def __init__(self, originals, *, status=200, error=None):
        self.originals, self.status, self.error, self.urls = originals, status, error, []

    def raise_for_status(self):
        if self.status != 200:
            raise requests.HTTPError(str(self.status))

    def get(self, url, **settings):
        assert settings["timeout"]
        if self.error is not None:
            raise self.error
        self.urls.append(url)
        content = (self.originals / url.rpartition("/")[2]).read_bytes()
        return contextlib.nullcontext(
            types.SimpleNamespace(
                url=url,
                raise_for_status=self.raise_for_status,
                iter_content=lambda chunk_size: iter([content]),
            )
        )

    def install(self, monkeypatch):
        monkeypatch.setattr(requests.Session, "get", self.get)
        return self


def test_prepared_from_original_files(images, originals, data_dir, capfd):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert folder == data_dir / "tiny" / "3.0.1"
    assert "tensorflow" not in sys.modules
    dataset = load("tiny", data_dir=data_dir)
    assert_holds(dataset, images)
    assert dataset.train_images.shape == (12, 28, 28)
    assert capfd.readouterr() == ("", "")
    assert {file.name for file in (data_dir / "tiny").iterdir()} == {"3.0.1"}
    assert {file.name for file in data_dir.iterdir()} == {"tiny"}


def test_tfds_reads_what_we_prepared(images, originals, data_dir):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    with preparation.quiet():
        import tensorflow_datasets as tfds

        source = tfds.builder_from_directory(folder).as_data_source("test")
        rows = [source[i] for i in range(len(source))]
    found = Counter((row["image"].tobytes(), int(row["label"])) for row in rows)
    assert found == Counter((i.tobytes(), int(k)) for i, k in zip(*images["t10k"], strict=True))


def test_load_downloads_what_is_not_there(images, originals, data_dir, monkeypatch):
    served = Served(originals).install(monkeypatch)
    assert_holds(load("tiny", data_dir=data_dir), images)
    assert sorted(served.urls) == sorted(URL + file.name for file in originals.iterdir())
    load("tiny", data_dir=data_dir)
    prepare("tiny", data_dir=data_dir)
    assert len(served.urls) == 4


def test_the_process_is_left_as_it_was(originals, data_dir):
    from tensorflow_datasets.core.utils import tqdm_utils

    def state():
        names = (None, "absl", "urllib3")
        return (
            sys.stdout,
            tqdm_utils._active,
            [logging.getLogger(name).level for name in names],
            list(logging.root.handlers),
        )

    before = state()
    prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert state() == before
    with pytest.raises(DataError):
        prepare("tiny", data_dir=data_dir / "other", manual_dir=data_dir)
    assert state() == before


def test_only_the_preparing_threads_printing_is_dropped(capsys):
    with preparation.quiet():
        print("TFDS")
        other = threading.Thread(target=print, args=("user",))
        other.start()
        other.join()
    assert capsys.readouterr().out == "user\n"


def test_of_two_at_once_one_is_kept(images, originals, data_dir, monkeypatch):
    together = threading.Barrier(2, timeout=60)
    whole = Path.rename
    found = []

    def slow(*arguments):
        together.wait()
        return whole(*arguments)

    def work():
        with contextlib.suppress(DataError):
            found.append(prepare("tiny", data_dir=data_dir, manual_dir=originals))

    monkeypatch.setattr(Path, "rename", slow)
    threads = [threading.Thread(target=work) for _ in range(2)]
    monkeypatch.setattr(preparation, "quiet", contextlib.nullcontext)  # it lets one in at a time
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [data_dir / "tiny" / "3.0.1"] * 2
    assert [file.name for file in (data_dir / "tiny").iterdir()] == ["3.0.1"]
    assert_holds(load("tiny", data_dir=data_dir), images)


def test_a_killed_preparation_leaves_nothing_half_read(images, originals, data_dir, module):
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
def test_the_real_sets_have_known_checksums(name, tmp_path):
    with preparation.quiet():
        builder = preparation._builder(name, tmp_path)
        known = set(builder.url_infos)
    files = [file for pair in preparation.FILES.values() for file in pair]
    assert {f"{builder.URL}{file}.gz" for file in files} <= known
    assert builder.name == name
    assert set(preparation.SOURCES[name].contents) in (set(), set(files))


@pytest.mark.skipif(not (PREPARED / "mnist").is_dir(), reason=f"no prepared mnist in {PREPARED}")
def test_contents_of_mnist_are_those_of_the_set_that_tfds_prepared(monkeypatch):
    """TFDS orders rows by the MD5 of split and index, so the files' order can be restored."""
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


def test_the_same_images_in_other_gzip_files(images, originals, data_dir, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in originals.iterdir():
        content = gzip.decompress(file.read_bytes())
        (other / file.name).write_bytes(gzip.compress(content, 1, mtime=1591347949))
        assert (other / file.name).read_bytes() != file.read_bytes()
    prepare("tiny", data_dir=data_dir, manual_dir=other)
    assert_holds(load("tiny", data_dir=data_dir), images)


@pytest.mark.parametrize("way", ["manual", "download"])
def test_a_terminal_shows_how_far_it_is(way, originals, data_dir, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    Served(originals).install(monkeypatch)
    monkeypatch.setattr(sys, "stderr", Terminal())
    prepare("tiny", data_dir=data_dir, manual_dir=originals if way == "manual" else None)
    shown = sys.stderr.getvalue()
    assert re.search(r"preparing tiny: +0%.*0/12", shown)
    assert (way == "download") == bool(re.search(r"downloading tiny: .*0%", shown))


# Errors


def test_no_network(data_dir, originals, monkeypatch):
    Served(originals, error=requests.ConnectionError("no route")).install(monkeypatch)
    start = time.perf_counter()
    with pytest.raises(DataError) as error:
        load("tiny", data_dir=data_dir)
    assert time.perf_counter() - start < 3
    for part in ("tiny", URL, str(data_dir / "tiny"), "--manual-dir", "mnist5k needs no network"):
        assert part in str(error.value)
    assert nothing_left(data_dir)


def test_an_address_that_is_gone(data_dir, originals, monkeypatch):
    Served(originals, status=404).install(monkeypatch)
    with pytest.raises(DataError, match=r"could not be downloaded from http://digits\.invalid/"):
        load("tiny", data_dir=data_dir)
    assert nothing_left(data_dir)


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
def test_a_wrong_checksum(way, damage, data_dir, originals, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong"
    shutil.copytree(originals, wrong)
    file = wrong / "train-labels-idx1-ubyte.gz"
    content = file.read_bytes()
    file.write_bytes(damage(content))
    Served(wrong).install(monkeypatch)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz of tiny.*wrong checksum"):
        prepare("tiny", data_dir=data_dir, manual_dir=wrong if way == "manual" else None)
    assert nothing_left(data_dir)


def test_missing_original_files(data_dir, originals, tmp_path):
    few = tmp_path / "few"
    shutil.copytree(originals, few)
    (few / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"few has no t10k-images-idx3-ubyte\.gz; expected the or"):
        prepare("tiny", data_dir=data_dir, manual_dir=few)
    with pytest.raises(DataError, match="nowhere' is no folder"):
        prepare("tiny", data_dir=data_dir, manual_dir=tmp_path / "nowhere")


def test_no_space_before(data_dir, originals, monkeypatch):
    usage = shutil.disk_usage(data_dir.parent)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"no space left in .*data to prepare tiny"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert nothing_left(data_dir)


@pytest.mark.parametrize("kind", [OSError, RuntimeError])  # of files, and of the record writer
def test_no_space_on_the_way(data_dir, originals, monkeypatch, kind):
    def full(*_):
        message = os.strerror(errno.ENOSPC)
        raise OSError(errno.ENOSPC, message) if kind is OSError else RuntimeError(message)
        yield

    monkeypatch.setattr(preparation._FromArrays, "_generate_examples", full)
    with pytest.raises(DataError, match=r"no space left in .*data to prepare tiny"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert nothing_left(data_dir)


def test_a_read_only_folder_is_left_alone_even_by_the_superuser(data_dir, originals):
    data_dir.mkdir()
    data_dir.chmod(0o555)
    with pytest.raises(DataError, match=r"tiny is not in .*data, and that folder cannot be"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize(("name", "nearest"), [("mnst", "mnist"), ("kmnits", "kmnist")])
def test_an_unknown_name(name, nearest, data_dir):
    with pytest.raises(
        DataError, match=f"{name}.*did you mean '{nearest}'.*Expected mnist5k, mnist, fash"
    ):
        prepare(name, data_dir=data_dir)
    assert not data_dir.exists()


def test_a_damaged_set_is_not_prepared_over(data_dir, originals):
    folder = prepare("tiny", data_dir=data_dir, manual_dir=originals)
    Path(folder / "features.json").write_text("{")
    with pytest.raises(DataError, match=r"features\.json is damaged"):
        prepare("tiny", data_dir=data_dir, manual_dir=originals)
