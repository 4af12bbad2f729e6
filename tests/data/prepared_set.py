"""Prepared data sets in the layout of TFDS, written without its builders."""

import io
import json

import numpy as np
from PIL import Image

FILES = {"filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "numBytes": "1"}


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def store(folder, splits, *, features=None, classes=10, shards=1, file_format="array_record"):
    """Write {split: (images, labels)} as a prepared data set in the layout of TFDS."""
    from array_record.python import array_record_module  # ty: ignore[missing-module-member]
    from tensorflow_datasets.proto import tf_example_pb2

    folder.mkdir(parents=True)
    name = folder.parent.name
    dimensions = [*next(iter(splits.values()))[0][0].shape, 1][:3]
    described = []
    for split, (images, labels) in splits.items():
        parts = np.array_split(np.arange(len(labels)), shards)
        for i, part in enumerate(parts):
            file = folder / f"{name}-{split}.array_record-{i:05d}-of-{shards:05d}"
            writer = array_record_module.ArrayRecordWriter(str(file), "group_size:1")
            for row in part:
                example = tf_example_pb2.Example()
                example.features.feature["image"].bytes_list.value.append(png(images[row]))
                example.features.feature["label"].int64_list.value.append(int(labels[row]))
                writer.write(example.SerializeToString())
            writer.close()
        lengths = [str(len(part)) for part in parts]
        described.append({**FILES, "name": split, "shardLengths": lengths})
    info = {"name": name, "version": folder.name, "splits": described, "fileFormat": file_format}
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))
    kind = "tensorflow_datasets.core.features"
    image = {
        "image": {"dtype": "uint8", "shape": {"dimensions": [str(d) for d in dimensions]}},
        "pythonClassName": f"{kind}.image_feature.Image",
    }
    label = {
        "classLabel": {"numClasses": str(classes)},
        "pythonClassName": f"{kind}.class_label_feature.ClassLabel",
    }
    features = {"image": image, "label": label} if features is None else features
    complete = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{kind}.features_dict.FeaturesDict",
    }
    (folder / "features.json").write_text(json.dumps(complete))


def some(shape=(4, 5), classes=10, seed=0):
    """Return random images and labels, 9 for training and 6 for testing."""
    rng = np.random.default_rng(seed)
    return {
        split: (rng.integers(0, 256, (n, *shape), np.uint8), rng.integers(0, classes, n))
        for split, n in (("train", 9), ("test", 6))
    }


def assert_holds(dataset, splits):
    for split, (images, labels) in splits.items():
        np.testing.assert_array_equal(getattr(dataset, f"{split}_images"), images)
        np.testing.assert_array_equal(getattr(dataset, f"{split}_labels"), labels)
