"""Image sets prepared by TFDS as array_record files, read without TensorFlow.

A prepared set is a folder `<data folder>/<name>/<version>` with `dataset_info.json`,
`features.json` and one or more files of records per split. A record is a protocol buffer with the
encoded image and the label. The simplest use:

    (train_images, train_labels, test_images, test_labels), classes = decode(folder)

TFDS takes a second to import and prints messages, so it is imported only inside `quiet`.
"""

import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.base.errors import DataError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TALKING = threading.RLock()  # one thread at a time, since `quiet` changes global state


class Prepared(NamedTuple):
    """Metadata of a prepared set from its two JSON files.

    `height` and `width` are None if the set does not fix them. `counts` are the numbers of records
    in each file, by split.
    """

    folder: Path
    height: int | None
    width: int | None
    channels: int
    classes: int
    counts: dict[str, list[int]]


def describe(folder: Path) -> Prepared:
    """Read the metadata of the prepared set in a folder `<data folder>/<name>/<version>`."""
    info, features = _json(folder / "dataset_info.json"), _json(folder / "features.json")
    try:
        file_format = info.get("fileFormat", "tfrecord")
        counts = {s["name"]: [int(n) for n in s.get("shardLengths", ())] for s in info["splits"]}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / "dataset_info.json", "it lists no splits") from error
    if file_format != "array_record":
        raise DataError(
            f"{folder} holds {file_format} files, which need TensorFlow; expected array_record. "
            f"Prepare the data set again with file_format='array_record' in TFDS"
        )
    if missing := [split for split in ("train", "test") if not sum(counts.get(split, ()))]:
        raise DataError(
            f"{folder} has no {' and no '.join(missing)} split, only {', '.join(counts) or 'none'};"
            f" expected train and test"
        )
    try:
        named = dict(features["featuresDict"]["features"])
        image, label = named.get("image", {}).get("image"), named.get("label", {}).get("classLabel")
        if image is None or label is None:
            raise DataError(
                f"{folder} is not an image classification data set: its features are "
                f"{', '.join(named) or 'none'}; expected an image called image and a class label "
                f"called label"
            )
        shape = [n if (n := int(d)) > 0 else None for d in image["shape"]["dimensions"]]
        classes, dtype = int(label["numClasses"]), image.get("dtype", "uint8")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / "features.json", "its features are incomplete") from error
    height, width, channels = shape if len(shape) == 3 else (None, None, None)
    if dtype != "uint8" or channels not in MODES:
        raise DataError(
            f"{folder} has images of {dtype} and shape {shape}; expected uint8 and 1, 3 or 4 "
            f"channels"
        )
    return Prepared(folder, height, width, channels, classes, counts)


def decode(folder: Path) -> tuple[list[np.ndarray], int]:
    """Decode the images and labels of a prepared set, in the order of its files.

    Returns:
        List of training images, uint8 [n, height, width] or [n, height, width, channels], training
        labels [n], test images and test labels; and the number of classes.
    """
    prepared = describe(folder)
    return [*_split(prepared, "train"), *_split(prepared, "test")], prepared.classes


def _split(prepared: Prepared, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of a split."""
    with quiet():
        import tensorflow_datasets as tfds
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            builder = tfds.builder_from_directory(prepared.folder)
            files = [Path(file) for file in builder.info.splits[split].filepaths]
        except Exception as error:  # the type depends on the damage
            raise _damaged(prepared.folder / "dataset_info.json", str(error)) from error
    images, labels = [], []
    for file, count in zip(files, prepared.counts[split], strict=True):
        for record in _records(file, count):
            message = tf_example_pb2.Example.FromString(record)  # ty: ignore[missing-attribute]
            feature = message.features.feature
            images.append(feature["image"].bytes_list.value[0])
            labels.append(feature["label"].int64_list.value[0])
    labels = np.array(labels)
    if labels.min() < 0 or labels.max() >= prepared.classes:
        raise DataError(
            f"{prepared.folder}: labels of the {split} split run from {labels.min()} to "
            f"{labels.max()}, expected 0 to {prepared.classes - 1}; sets with unlabeled images "
            f"cannot be used"
        )
    labels = labels.astype(np.uint8 if prepared.classes <= 256 else np.int32)
    return _pixels(images, prepared, split), labels


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Suppress this thread's prints, and logs and progress bars of TFDS."""
    with _TALKING, contextlib.redirect_stdout(_Muted(sys.stdout)):
        loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
        levels = [logger.level for logger in loggers]
        handlers = list(logging.root.handlers)
        from tensorflow_datasets.core.utils import tqdm_utils

        active = tqdm_utils._active
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            tqdm_utils.display_progress_bar(False)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            logging.root.handlers[:] = handlers  # the first log message installs a handler
            tqdm_utils.display_progress_bar(active)


class _Muted(io.TextIOBase):
    """A stream that discards text written by the thread that created it."""

    def __init__(self, stream: Any):
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self.thread:
            return len(text)
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()


def _records(file: Path, count: int) -> list[bytes]:
    """Read all records of a file, and check their number, since the format does not."""
    from array_record.python import array_record_module  # ty: ignore[missing-module-member]

    if not file.is_file():
        raise _damaged(file, "it is missing")
    try:
        reader = array_record_module.ArrayRecordReader(str(file))
        records = reader.read_all()
        reader.close()
    except (RuntimeError, ValueError, IndexError) as error:
        raise _damaged(file, str(error).partition(";")[0].strip()) from error
    if len(records) != count:
        raise _damaged(file, f"it has {len(records)} records, but dataset_info.json lists {count}")
    return records


def _pixels(images: list[bytes], prepared: Prepared, split: str) -> np.ndarray:
    """Decode images into one array."""
    from PIL import Image

    mode = MODES[prepared.channels]

    def open_image(encoded: bytes) -> Image.Image:
        image = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG"))
        return image if image.mode == mode else image.convert(mode)

    try:
        width, height = open_image(images[0]).size
        height, width = prepared.height or height, prepared.width or width
        pixels = np.empty((len(images), height * width * prepared.channels), np.uint8)
        for row, encoded in enumerate(images):  # threads would save only 8 % of the time
            image = open_image(encoded)
            if image.size != (width, height):
                raise DataError(
                    f"{prepared.folder}: image {row} of the {split} split is "
                    f"{image.size[1]} x {image.size[0]}, expected {height} x {width}; sets whose "
                    f"images differ in size cannot be used"
                )
            pixels[row] = np.frombuffer(image.tobytes(), np.uint8)
    except OSError as error:
        raise DataError(
            f"{prepared.folder}: an image of the {split} split cannot be read ({error}); expected "
            f"PNG or JPEG"
        ) from error
    color_axes = (prepared.channels,) if prepared.channels > 1 else ()
    return pixels.reshape(-1, height, width, *color_axes)


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, why: str) -> DataError:
    return DataError(
        f"{file} is damaged: {' '.join(why.split())[:200]}. Delete the folder {file.parent} and "
        f"prepare the set again (`gdjax data prepare NAME`, or with TFDS itself)"
    )
