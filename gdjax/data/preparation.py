"""Search for prepared image sets, and preparation from the original files.

The original files are downloaded or read from a folder, and verified by their contents. TFDS then
writes the folder that `gdjax.data.tfds` reads. TFDS alone would call TensorFlow for unpacking,
opening files and encoding arrays, so its builders receive arrays and PIL images instead.
"""

import contextlib
import difflib
import errno
import gzip
import importlib
import io
import os
import re
import shutil
import time
import types
import uuid
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.base import progress
from gdjax.base.documents import sha256
from gdjax.base.errors import DataError
from gdjax.data.bundled import BUNDLED
from gdjax.data.cache import writable
from gdjax.data.tfds import quiet

VERSION = re.compile(r"\d+\.\d+\.\d+")
NEEDED = 150 * 10**6  # number of bytes of three copies: downloaded, prepared, decoded
LARGEST = 10**8  # maximum number of bytes of an unpacked original file
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
ORIGINALS = (*FILES["train"], *FILES["test"])


class Source(NamedTuple):
    """A set that can be prepared: TFDS builder, and SHA-256 of each unpacked file."""

    module: str
    builder: str
    contents: Mapping[str, str]


def _contents(*digests):
    """Return the SHA-256 of each unpacked file, from those in the order of `ORIGINALS`."""
    return dict(zip(ORIGINALS, digests, strict=True))


# TFDS builders contain the URLs and checksums of the authors' compressed files. The hashes of the
# unpacked contents were computed from TFDS's prepared set, with its records in the order of the
# original files (MNIST), and from Debian's copy, which matches TFDS's checksums if it is compressed
# in the authors' way (Fashion-MNIST). For KMNIST, no such hashes are known, so only the authors'
# compressed files are accepted.
_FAMILY = "tensorflow_datasets.image_classification.mnist"
SOURCES = {
    "mnist": Source(
        _FAMILY,
        "MNIST",
        _contents(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": Source(
        _FAMILY,
        "FashionMNIST",
        _contents(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    "kmnist": Source(_FAMILY, "KMNIST", {}),
}


def data_folder(data_dir: str | os.PathLike | None = None) -> Path:
    """Return the folder of prepared sets: `data_dir`, or else the default of TFDS.

    The default is `TFDS_DATA_DIR` if set, otherwise `~/tensorflow_datasets`.
    """
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(name: str, data_dir: str | os.PathLike | None = None) -> Path | None:
    """Return the folder of the newest prepared version of a set, or None.

    A set is given as `name` or `name/config`.
    """
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.+-]*)?", name):
        return None
    try:
        inside = list((data_folder(data_dir) / name).iterdir())
    except OSError:
        return None
    versions = [folder for folder in inside if VERSION.fullmatch(folder.name) and folder.is_dir()]
    return max(versions, key=lambda f: [int(part) for part in f.name.split(".")], default=None)


def prepared_sets(folder: Path) -> dict[str, Path]:
    """Return the folder of the newest version of each set in a data folder, by name."""
    names = {
        file.parent.parent.relative_to(folder).as_posix()
        for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json")
        for file in folder.glob(pattern)
        if VERSION.fullmatch(file.parent.name)
    }
    places = {name: find(name, folder) for name in sorted(names)}
    return {name: place for name, place in places.items() if place is not None}


def prepared(
    name: str,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Path:
    """Return the folder of a set; prepare the set first if it is missing.

    The set is written to a scratch folder and renamed when complete, so an incomplete preparation
    is never read. If two processes prepare the same set, the result of the first is kept.
    """
    if folder := find(name, data_dir):
        return folder
    home = data_folder(data_dir) / name
    if name not in SOURCES:
        raise _unknown(name, data_folder(data_dir))
    if not writable(home):
        raise DataError(
            f"{name} is not in {home.parent}, which is not writable; set data_dir or TFDS_DATA_DIR "
            f"to another folder. mnist5k needs no preparation"
        )
    new_folders = [folder for folder in (home, *home.parents) if not folder.exists()]
    scratch = home / f".preparing-{uuid.uuid4().hex}"
    try:
        scratch.mkdir(parents=True)
        _clear(home)
        with quiet():
            whole = _prepare(name, scratch, manual_dir)
        with contextlib.suppress(OSError):  # another process has prepared the set
            whole.rename(home / whole.name)
    except (OSError, RuntimeError) as error:  # the writer of records raises RuntimeError
        raise _unwritten(name, home, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in new_folders:  # after a failure, new empty folders are removed
            with contextlib.suppress(OSError):
                folder.rmdir()
    if (folder := find(name, data_dir)) is None:
        raise _unwritten(name, home, OSError("the prepared set could not be moved to its folder"))
    return folder


def check_known(name: str) -> None:
    """Check that a set is bundled, can be prepared, or is prepared."""
    if name not in (BUNDLED, *SOURCES) and find(name) is None:
        raise _unknown(name, data_folder())


def _unknown(name: str, folder: Path) -> DataError:
    """Return the error for an unknown name, with the closest known name."""
    known = list(dict.fromkeys([BUNDLED, *SOURCES, *prepared_sets(folder)]))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return DataError(
        f"data set {name!r} is unknown{hint} Expected {', '.join(known)}, or any image data "
        f"set with class labels that TFDS has prepared as array_record in {folder}"
    )


def _clear(home: Path) -> None:
    """Remove scratch folders that killed preparations left more than an hour ago."""
    for abandoned in home.glob(".preparing*"):
        with contextlib.suppress(FileNotFoundError):  # another process is using it
            newest = max(file.stat().st_mtime for file in (abandoned, *abandoned.rglob("*")))
            if time.time() - newest > 3600:
                shutil.rmtree(abandoned, ignore_errors=True)


def _prepare(name: str, scratch: Path, manual_dir: str | os.PathLike | None) -> Path:
    """Prepare a set in a scratch folder and return its folder."""
    import requests
    import tensorflow_datasets as tfds

    builder = _builder(name, scratch)
    if manual_dir is not None:
        packed = _taken(name, builder.URL, Path(manual_dir).expanduser())
    else:
        try:
            packed = _downloaded(name, builder)
        except requests.RequestException as error:
            raise DataError(
                f"{name} could not be downloaded from {builder.URL} ({type(error).__name__}). Copy "
                f"a prepared set into {scratch.parent}, or prepare the original files with `gdjax "
                f"data prepare {name} --manual-dir DIR`. mnist5k needs no network connection"
            ) from error
    origin = manual_dir or builder.URL
    builder.originals = {
        split: [_array(name, file, packed[file], origin, builder) for file in files]
        for split, files in FILES.items()
    }
    builder.download_and_prepare(
        download_dir=scratch / "downloads",
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        file_format="array_record",
    )
    return Path(builder.data_dir)


def _taken(name: str, url: str, folder: Path) -> dict[str, bytes]:
    """Return the contents of the packed original files in a folder, by name."""
    if missing := [f"{file}.gz" for file in ORIGINALS if not (folder / f"{file}.gz").is_file()]:
        raise DataError(
            f"{folder} has no {', '.join(missing)}; expected the original files of {name}, those "
            f"at {url}"
        )
    return {file: (folder / f"{file}.gz").read_bytes() for file in ORIGINALS}


def _downloaded(name: str, builder: Any) -> dict[str, bytes]:
    """Download the packed original files, and return their contents by name.

    A download stops when it exceeds the expected size. Timeouts are short and there are no retries,
    since TFDS's ten retries without a network take 205 s.
    """
    import requests

    addresses = {file: f"{builder.URL}{file}.gz" for file in ORIGINALS}
    sizes = {file: int(builder.url_infos[url].size) for file, url in addresses.items()}
    packed = {}
    with (
        requests.Session() as session,
        progress.bar(
            total=sum(sizes.values()),
            unit="B",
            delay=0,
            desc=f"downloading {name}",
            unit_scale=True,
        ) as bar,
    ):
        for file, url in addresses.items():
            received = io.BytesIO()
            with session.get(url, stream=True, timeout=(2, 20)) as response:
                response.raise_for_status()
                for part in response.iter_content(2**16):
                    received.write(part)
                    bar.update(len(part))
                    if received.tell() > sizes[file]:
                        break
            packed[file] = received.getvalue()
    return packed


def _array(name: str, file: str, packed: bytes, origin: Any, builder: Any) -> np.ndarray:
    """Verify the checksum of an original file, and return its array."""
    with contextlib.suppress(OSError, EOFError, zlib.error):
        content = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(LARGEST)
        known = builder.url_infos[f"{builder.URL}{file}.gz"].checksum
        if sha256(packed) == known or sha256(content) == SOURCES[name].contents.get(file):
            return _idx(content)
    raise DataError(
        f"{file}.gz of {name} from {origin} has the wrong checksum: it is damaged or belongs to "
        f"another data set. Download it again"
        + ("" if name in ("mnist", "fashion_mnist") else ", as packed by its authors")
    )


def _idx(content: bytes) -> np.ndarray:
    """Parse an idx file: 0, 0, 8 (for uint8), number of axes, their lengths, data."""
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


class _FromArrays:
    """TensorFlow-free replacements for methods of TFDS's MNIST builders."""

    name: str
    originals: Mapping[str, list[np.ndarray]]

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        return {split: self._generate_examples(*pair) for split, pair in self.originals.items()}

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        from PIL import Image

        with progress.bar(
            total=len(images), unit="image", delay=0, desc=f"preparing {self.name}"
        ) as bar:
            for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield index, {"image": Image.fromarray(image), "label": int(label)}
                bar.update()


def _builder(name: str, data_dir: Path) -> Any:
    """Return TFDS's builder of a set, with its TensorFlow methods replaced."""
    source = SOURCES[name]
    stock = getattr(importlib.import_module(source.module), source.builder)
    body = {"__module__": stock.__module__, "name": stock.name}
    bases, settings = (_FromArrays, stock), {"skip_registration": True}
    return types.new_class(source.builder, bases, settings, lambda space: space.update(body))(
        data_dir=data_dir
    )


def _unwritten(name: str, home: Path, error: Exception) -> DataError:
    full = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "disk space")
    if any(text in str(error) for text in full):
        return DataError(
            f"no space left in {home.parent} to prepare {name}, which takes up to "
            f"{NEEDED // 10**6} MB temporarily; free some space, or set data_dir or TFDS_DATA_DIR "
            f"to another folder"
        )
    return DataError(
        f"{name} could not be prepared in {home.parent}: {error}; set data_dir or TFDS_DATA_DIR to "
        f"another folder"
    )
