"""Reading prepared data sets, and errors for damaged ones."""

import hashlib

import numpy as np
import pytest
from prepared_set import assert_holds, some, store

from gdjax.base.errors import DataError
from gdjax.data import load


@pytest.mark.parametrize(
    ("name", "shape", "classes", "shards"),
    [("gray", (4, 5), 10, 1), ("color", (3, 6, 3), 300, 2), ("letters/upper", (4, 4), 26, 3)],
)
def test_a_prepared_data_set_is_read_as_it_was_written(tmp_path, name, shape, classes, shards):
    splits = some(shape, classes)
    store(tmp_path / name / "1.0.0", splits, classes=classes, shards=shards)
    dataset = load(name, data_dir=tmp_path)
    again = load(name, data_dir=tmp_path)
    for result in (dataset, again):
        assert_holds(result, splits)
        assert result.name == name
        assert result.classes == classes
        assert result.train_images.dtype == np.uint8
        assert result.train_labels.dtype == (np.uint8 if classes <= 256 else np.int32)
        assert result.train_labels.flags.aligned
    digest = hashlib.sha256()
    for array in dataset[1:5]:
        digest.update(str(array.shape).encode() + array.tobytes())
    assert dataset.hash == again.hash == digest.hexdigest()[:16]


def test_the_newest_version_is_read(tmp_path):
    for version, seed in (("1.9.0", 1), ("1.10.0", 2), ("1.2.0", 3)):
        store(tmp_path / "tiny" / version, some(seed=seed))
    assert_holds(load("tiny", data_dir=tmp_path), some(seed=2))


SHARD = "tiny-train.array_record-00000-of-00001"


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (SHARD, lambda b: b[: len(b) // 2]),
        (SHARD, lambda b: b[:65536]),  # a valid file without records
        (SHARD, lambda b: b""),
        (SHARD, lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:]),
        (SHARD, None),
        ("dataset_info.json", lambda b: b[: len(b) // 2]),
        ("dataset_info.json", lambda b: b"[]"),
        ("dataset_info.json", lambda b: b.replace(b'"9"', b'"8"')),
        ("dataset_info.json", lambda b: b.replace(b"numBytes", b"numbytes")),
        ("dataset_info.json", None),
        ("features.json", lambda b: b"\xff" + b),
        ("features.json", lambda b: b"null"),
        ("features.json", lambda b: b'{"featuresDict": []}'),
        ("features.json", lambda b: b.replace(b"numClasses", b"numclasses")),
        ("features.json", None),
    ],
)
def test_the_error_for_a_damaged_or_missing_file_names_the_cause_and_the_fix(tiny, file, change):
    data_dir, folder, _ = tiny
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if change is not None:
        assert change(content) != content
        (folder / file).write_bytes(change(content))
    with pytest.raises(DataError, match=r"is damaged.*Delete the folder.*prepare") as error:
        load("tiny", data_dir=data_dir)
    assert str(folder / file) in str(error.value) or "dataset_info.json lists 8" in str(error.value)


(IMAGES, LABELS), TEST = some().values()


@pytest.mark.parametrize(
    ("splits", "settings", "message"),
    [
        ({}, {"features": {"text": {"text": {}}}}, "not an image classification.*are text"),
        ({}, {"features": {"image": {"image": {}}, "label": {"tensor": {}}}}, "not an image class"),
        ({}, {"file_format": "tfrecord"}, "holds tfrecord files.*expected array_record"),
        ({}, {"classes": 3}, "labels of the train split run from 0 to 9, expected 0 to 2"),
        ({"test": None}, {}, "has no test split, only train"),
        ({"train": ([*IMAGES[:-1], IMAGES[-1][:2]], LABELS)}, {}, "image 8 of .* is 2 x 5"),
    ],
)
def test_an_unusable_data_set_raises_an_error_that_states_the_reason(
    tmp_path, splits, settings, message
):
    complete = {"train": (IMAGES, np.arange(9) + (np.arange(9) == 8)), "test": TEST} | splits
    store(tmp_path / "odd" / "1.0.0", {k: v for k, v in complete.items() if v}, **settings)
    with pytest.raises(DataError, match=message):
        load("odd", data_dir=tmp_path)
