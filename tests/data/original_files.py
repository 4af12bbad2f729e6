"""Original files of an MNIST-like data set, and a mock of their download."""

import contextlib
import gzip
import struct
import types

import requests

URL = "http://digits.invalid/"
# A TFDS data set of the MNIST family with the checksums of the files in the folder ORIGINALS.
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


def pack(array):
    """Return the content of a gzipped idx file with an array of type uint8.

    The header consists of the bytes 0, 0 and 8 (for uint8), the number of axes, and their lengths.
    """
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


class Served:
    """Mock of downloads, which serves the original files or raises an error."""

    def __init__(self, originals, *, error=None):
        self.originals, self.error, self.urls = originals, error, []

    def get(self, url, **settings):
        assert settings["timeout"]
        if self.error is not None:
            raise self.error
        self.urls.append(url)
        content = (self.originals / url.rpartition("/")[2]).read_bytes()
        return contextlib.nullcontext(
            types.SimpleNamespace(
                url=url,
                raise_for_status=lambda: None,
                iter_content=lambda chunk_size: iter([content[:9], content[9:]]),
            )
        )

    def install(self, monkeypatch):
        monkeypatch.setattr(requests.Session, "get", self.get)
        return self
