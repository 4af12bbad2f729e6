"""From original files to a set prepared by TFDS, without TensorFlow.

TFDS downloads the original files, checks them against the checksums it knows, and writes the folder
that `gdjax.problems.prepared` reads. It calls TensorFlow on the way in three places, which
`_WithoutTensorFlow` steps around. The simplest use, with the files at hand:

    prepare("mnist", manual_dir="originals")
"""

import contextlib
import difflib
import errno
import fcntl
import gzip
import importlib
import os
import shutil
import time
import types
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gdjax.errors import DataError
from gdjax.problems.prepared import data_folder, describe, find, quiet, writable

# What can be downloaded: TFDS's own builders, which know the addresses and the checksums.
SOURCES = {
    "mnist": ("tensorflow_datasets.image_classification.mnist", "MNIST"),
    "fashion_mnist": ("tensorflow_datasets.image_classification.mnist", "FashionMNIST"),
    "kmnist": ("tensorflow_datasets.image_classification.mnist", "KMNIST"),
}
NEEDED = 150 * 10**6  # bytes: the largest set three times, as downloaded, in transit, and whole


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Path:
    """Download a set, or take its original files, and let TFDS prepare it (about 20 s).

    Everything is made in a scratch folder and renamed when it is whole, so an interrupted
    preparation is never read; the next one clears it away.

    Args:
        name: one of `SOURCES`; anything that is prepared already is left as it is.
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
        manual_dir: folder with the original `.gz` files, which TFDS checks; None downloads them.

    Returns:
        The folder of the prepared set.

    Raises:
        DataError: unknown name, no network, missing or wrong original files, no space.
    """
    if folder := find(name, data_dir):
        return describe(folder).folder
    if name not in SOURCES:
        raise unknown(name, SOURCES, "only these can be downloaded")
    home = data_folder(data_dir) / name
    if not writable(home):
        raise DataError(
            f"{name} is not in {home.parent}, and that folder cannot be written to; name another "
            f"one in data_dir or TFDS_DATA_DIR. mnist5k needs no preparation"
        )
    if manual_dir is not None and not Path(manual_dir).expanduser().is_dir():
        raise DataError(
            f"manual_dir = {str(manual_dir)!r} is no folder; expected one with the original files "
            f"of {name}"
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(home).free < NEEDED:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with (home / ".lock").open("w") as lock:
            # Freed by the kernel when its holder dies; whoever waited finds the work done.
            fcntl.flock(lock, fcntl.LOCK_EX)
            return find(name, data_dir) or _prepare(name, home, manual_dir)
    except (OSError, RuntimeError) as error:  # the latter from the writer of records
        raise _unwritten(name, home, error) from error


def unknown(name: str, known: Iterable[str], but: str) -> DataError:
    """The error for a name that nothing is known about, with the nearest that is known."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return DataError(f"data set {name!r} is unknown{hint} Expected {', '.join(known)} ({but})")


def _prepare(name: str, home: Path, manual_dir: str | os.PathLike | None) -> Path:
    """Prepare in a scratch folder beside the final place; the caller holds the lock."""
    scratch = home / ".preparing"
    shutil.rmtree(scratch, ignore_errors=True)  # of a preparation that was killed
    with quiet():
        import requests
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.download import download_manager, downloader

        builder = _builder(name, scratch)
        if manual_dir is not None:
            manual_dir = Path(manual_dir).expanduser()
            wanted = [info.filename for info in builder.url_infos.values()]
            if missing := [file for file in wanted if not (manual_dir / file).is_file()]:
                raise DataError(
                    f"{manual_dir} has no {', '.join(missing)}; expected the original files of "
                    f"{name}, as they lie at {builder.URL}"
                )
        config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
        try:
            with _impatient(downloader):
                builder.download_and_prepare(
                    download_dir=scratch / "downloads",
                    download_config=config,
                    file_format="array_record",
                )
            whole = Path(builder.data_dir)
            whole.rename(home / whole.name)
        except download_manager.NonMatchingChecksumError as error:
            origin = manual_dir or builder.URL
            raise DataError(
                f"an original file of {name} from {origin} has the wrong checksum: it is damaged, "
                f"or of another set. Fetch it again ({str(error).splitlines()[0]})"
            ) from error
        except (requests.RequestException, tfds.download.DownloadError) as error:
            raise DataError(
                f"{name} could not be downloaded from {builder.URL} ({type(error).__name__}). "
                f"A prepared copy would be looked for in {home}; `gdjax data prepare {name} "
                f"--manual-dir DIR` takes the original files. mnist5k needs no network"
            ) from error
        finally:
            _remove(scratch)
    return home / whole.name


def _remove(folder: Path, tries: int = 40) -> None:
    """Remove a folder although other downloads, in threads of TFDS, may still write into it."""
    for _ in range(tries):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)


class _WithoutTensorFlow:
    """The parts of a TFDS builder of the MNIST family that call TensorFlow, without it.

    The stock builder unpacks, opens files and encodes arrays through TensorFlow; `download` alone,
    gzip, and images of PIL do not.
    """

    URL: str

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        parts = ("train", "t10k")
        urls = [
            [f"{self.URL}{part}-images-idx3-ubyte.gz", f"{self.URL}{part}-labels-idx1-ubyte.gz"]
            for part in parts
        ]
        train, test = dl_manager.download(urls)
        return {"train": self._generate_examples(*train), "test": self._generate_examples(*test)}

    def _generate_examples(
        self, images: os.PathLike, labels: os.PathLike
    ) -> Iterator[tuple[int, dict]]:
        from PIL import Image

        pairs = list(zip(_idx(images), _idx(labels), strict=True))
        bar = tqdm(pairs, unit="image", delay=2, disable=None, leave=False)
        for index, (image, label) in enumerate(bar):
            yield index, {"image": Image.fromarray(image), "label": int(label)}


def _builder(name: str, data_dir: Path) -> Any:
    """TFDS's builder of a set, its TensorFlow parts replaced; name and checksums stay its own."""
    module, kind = SOURCES[name]
    stock = getattr(importlib.import_module(module), kind)
    body = {"__module__": stock.__module__, "name": stock.name}
    bases, settings = (_WithoutTensorFlow, stock), {"skip_registration": True}
    return types.new_class(kind, bases, settings, lambda space: space.update(body))(
        data_dir=data_dir
    )


def _idx(file: str | os.PathLike) -> np.ndarray:
    """Array of a gzipped idx file: 0, 0, 8 (bytes), the number of axes, their lengths, the data."""
    raw = gzip.decompress(Path(file).read_bytes())
    axes = raw[3]
    shape = np.frombuffer(raw, ">i4", axes, offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _unwritten(name: str, home: Path, error: Exception) -> DataError:
    full = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "disk space")
    if any(text in str(error) for text in full):
        return DataError(
            f"no space left in {home.parent} to prepare {name}, which takes up to "
            f"{NEEDED // 10**6} MB on the way; free some, or name another "
            f"folder in data_dir or TFDS_DATA_DIR"
        )
    return DataError(
        f"{name} could not be prepared in {home.parent}: {error}; name another folder in data_dir "
        f"or TFDS_DATA_DIR"
    )


@contextlib.contextmanager
def _impatient(downloader: Any) -> Generator[None]:
    """One repetition instead of ten, which without a network take 205 s; no endless waiting."""
    retries, open_url = downloader.MAX_RETRIES, downloader._open_with_requests
    downloader.MAX_RETRIES = 1
    downloader._open_with_requests = lambda url, **settings: open_url(
        url, timeout=(2, 20), **settings
    )
    try:
        yield
    finally:
        downloader.MAX_RETRIES, downloader._open_with_requests = retries, open_url
