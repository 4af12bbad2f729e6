"""Mutations of complete stores, which simulate malicious or broken files.

A mutation changes the files of a store in memory and, where possible, updates its digests.
"""

import contextlib
import copy
import json
from pathlib import Path

import google_crc32c
import numpy as np

from gdjax.base import array_file
from gdjax.base.documents import digest, serialize
from gdjax.stores.schema import SWEEP, TILES, WRITERS, TileRecord, checksum, parse_root, seal

TEXTS = (
    "../victim",
    "/etc/passwd",
    "..",
    "",
    "a\\b",
    "\x1b[2J\x07",
    "line\nbreak",
    "\ud800",
    "x" * 300,
    "__import__",
    "NaN",
    "cost",
    "finished",
    "zarr.json",
    "user's own",
)
NUMBERS = (0, -1, 1, 2, 7, 255, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, 3.0)
OTHERS = (None, True, [], {}, "text", 3, 2.5, [1, 2], {"a": 1})
CODECS = (
    [{"name": "gzip", "configuration": {"level": 9}}],
    [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "crc32c"}],
    [{"name": "bytes", "configuration": {"endian": "little"}}],
    [{"name": "vlen-utf8"}],
    [{"name": "numcodecs.pickle", "configuration": {}}],
    [{"name": "numcodecs.python"}, {"name": "crc32c"}],
    [{"name": "zstd", "configuration": {"level": 22, "checksum": False}}],
    [{"name": "transpose", "configuration": {"order": [0]}}],
    [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1]}}],
    [{"name": "os.system"}],
    [],
)
DTYPES = ("string", "object", "O", "r16", "complex64", "float128", "int128", "<U5", "datetime64",
          {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}},
          {"name": "struct", "configuration": {}}, "void", "float16", "int64", "bool")  # fmt: skip
ATTRIBUTES = (
    {"scale_factor": 2.0, "add_offset": 1},
    {"_FillValue": 0},
    {"units": "days since 1900-01-01"},
    {"units": "seconds"},
    {"dtype": "object"},
    {"coordinates": "../victim"},
    {"comment": "x" * 10**6},
    {"flag_values": [{}]},
)
OPTIMIZERS = [
    {"module": "os", "name": "system", "keywords": {"command": "touch victim"}},
    {"name": "os.system", "keywords": {"command": "touch victim"}},
    {"name": "this.anything", "keywords": {}},
    {"name": "optax.__loader__", "keywords": {}},
    {"name": "optax.chain", "keywords": {}},
    {"name": "optax.sgd", "keywords": {"learning_rate": "touch victim"}},
    {"name": "optax.sgd", "keywords": {"learning_rate": 0.1, "unheard_of": 1}},
    {"name": "optax.sgd", "keywords": {"accumulator_dtype": "object"}},
    {"name": "optax.sgd", "keywords": {"learning_rate": {"name": "os.system", "keywords": {}}}},
    {
        "name": "optax.sgd",
        "keywords": {
            "learning_rate": {
                "name": "gdjax.warmup_cosine",
                "keywords": {"learning_rate": 1.0, "warmup_steps": 9, "total_steps": 2},
            }
        },
    },
    {"name": "optax.adamw", "keywords": {"mask": {"text": "<function>"}}},
    {"name": ["optax.sgd"], "keywords": {}},
    {"name": "optax.sgd", "keywords": []},
    "optax.sgd",
    None,
]
PROBLEMS = [
    "user's own",
    "bowl",
    None,
    3,
    {"problem": "__builtins__"},
    {"problem": "open", "file": "victim", "mode": "w"},
    {"problem": ["bowl"]},
    {"problem": "bowl", "eigenvalues": [1.0, True]},
    {"problem": "bowl", "eigenvalues": [1.0, 4.0], "minimum": [0.0]},
    {"problem": "bowl", "eigenvalues": [1.0, 4.0], "basis": [[1.0]]},
    {"problem": "from_function", "name": "os.system"},
    {"problem": "from_function", "name": ["himmelblau"]},
    {"problem": "digits", "name": "../victim"},
    {"problem": "digits", "name": "http://127.0.0.1/victim"},
    {"problem": "digits", "name": "mnist5k", "data_dir": "../victim"},
    {"problem": "digits", "name": "mnist5k", "widths": [10**12]},
    {"problem": "digits", "name": "mnist5k", "activation": "__import__"},
    {"problem": "few_digits", "name": "mnist5k", "samples": -1},
]


# Parts of a mutant


class Files(dict):
    """A store in memory: content by file name; a Path is a link, None a folder."""

    def root(self):
        root = json.loads(self["zarr.json"])
        root["attributes"]["identity"] = json.loads(root["attributes"]["identity"])  # JSON as text
        return root

    def put_root(self, root):
        """Write root metadata; their digest is valid unless they cannot be serialized."""
        with contextlib.suppress(Exception):
            self["zarr.json"] = seal(root)
            self.bind()
            return
        self["zarr.json"] = json.dumps(root, indent=1).encode() + b"\n"

    def records(self):
        """Return the tile and the JSON of each record of a finished tile, by key."""
        keys = [key for key in self if key.startswith(f"{TILES}/")]
        tiles = [tuple(map(int, key.rpartition("/")[2].split("."))) for key in keys]
        return {key: (tile, json.loads(self[key])) for key, tile in zip(keys, tiles, strict=True)}

    def put_record(self, key, tile, document):
        """Write the record of a tile, with a valid digest."""
        record = TileRecord(document["writers"], document["checksums"])
        self[key] = record.to_bytes(self[SWEEP].decode(), tile)

    def bind(self, *, changed_chunks=False):
        """Bind tiles and checkpoints to the sweep of the root, as a careful stranger would.

        Args:
            changed_chunks: whether to record the checksums of the present chunks.
        """
        sweep = digest(self.root()["attributes"]["identity"])
        self[SWEEP] = sweep.encode()
        variables = parse_root(self["zarr.json"]).files.variables if changed_chunks else {}
        for key, (tile, record) in self.records().items():
            chunks = [self[array.key(tile)] for array in variables.values()]
            record["checksums"] = list(map(checksum, chunks)) or record["checksums"]
            self.put_record(key, tile, record)
        for key in [key for key in self if "/checkpoints/" in key]:
            arrays, bound = array_file.unpack(self[key])
            self[key] = array_file.pack(arrays, bound | {"sweep": sweep})


def nodes(value, path=()):
    """Yield the path of every node of a document."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(item, (*path, key))


def at(value, path):
    for key in path:
        value = value[key]
    return value


def leaves(root, kinds):
    return [p for p in nodes(root) if p and isinstance(at(root, p), kinds)]


def replaced(root, path, value):
    root = copy.deepcopy(root)
    at(root, path[:-1])[path[-1]] = value
    return root


def chunks(files):
    return sorted(name for name in files if "/c." in name)


def as_files(path: Path) -> Files:
    return Files(
        (str(file.relative_to(path)), file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name != "lock"
    )


def reseal(path: Path, **changed) -> None:
    """Record changed chunks of a store, and replace entries of its identity."""
    files = as_files(path)
    root = files.root()
    root["attributes"]["identity"] |= changed
    files.put_root(root)
    files.bind(changed_chunks=True)
    for name, content in files.items():
        (path / name).write_bytes(content)


def write(files: Files, path: Path) -> None:
    path.mkdir()
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            file.mkdir()
            (file / "within").write_text("something")
        elif isinstance(content, Path):
            file.symlink_to(content)
        else:
            file.write_bytes(content)


# Kinds of mutations, each of which changes the files of a store


def value(files, rng):
    """Replace a number, a text or any value of the root."""
    root = files.root()
    kind, values = rng.choice(((int | float, NUMBERS), (str, TEXTS), (object, OTHERS)))
    path = rng.choice(leaves(root, kind))
    files.put_root(replaced(root, path, copy.deepcopy(rng.choice(values))))


def key(files, rng):
    root = files.root()
    path = rng.choice([p for p in nodes(root) if p and isinstance(p[-1], str)])
    mapping = at(root, path[:-1])
    value = mapping.pop(path[-1])
    if rng.random() < 0.7:
        mapping[rng.choice(TEXTS)] = value
    files.put_root(root)


def nesting(files, rng):
    root = files.root()
    path = rng.choice([p for p in nodes(root) if p])
    value = at(root, path)
    deep = rng.choice((30, 500, 100_000))
    if deep < 1000:
        for _ in range(deep):
            value = [value] if rng.random() < 0.5 else {"a": value}
        files.put_root(replaced(root, path, value))
    else:
        files["zarr.json"] = b'{"a": ' * deep + b"1" + b"}" * deep


def length(files, rng):
    root = files.root()
    paths = [p for p in leaves(root, int) if {"shape", "chunk_shape", "sizes", "tile"} & set(p)]
    change = rng.choice((lambda n: n + 1, lambda n: n - 1, lambda n: n * 2**33, lambda n: 0))
    path = rng.choice(paths)
    many = [p for p in paths if at(root, p) == at(root, path)] if rng.random() < 0.3 else [path]
    new = change(at(root, path))
    for p in many:
        root = replaced(root, p, new)
    files.put_root(root)


def metadata(files, rng):
    """Change the metadata of an array in every file that contains them."""
    root = files.root()
    array = rng.choice(sorted(root["consolidated_metadata"]["metadata"]))
    document = root["consolidated_metadata"]["metadata"][array]
    entry, values = rng.choice(
        (("codecs", CODECS), ("data_type", DTYPES), ("attributes", ATTRIBUTES))
    )
    new = rng.choice(values)
    variables = root["attributes"]["identity"]["layout"]["variables"]
    if entry == "data_type" and array in variables and isinstance(new, str):
        variables[array] = variables[array].replace(document[entry], new)
    document[entry] = document[entry] | new if entry == "attributes" else new
    files.put_root(root)
    files[f"{array}/zarr.json"] = serialize(document)


def name(files, rng):
    """Rename an array or a dimension in the whole document."""
    root = files.root()
    arrays = root["consolidated_metadata"]["metadata"]
    dims = sorted({d for a in arrays.values() for d in a["dimension_names"]})
    old = rng.choice([*sorted(arrays), *dims])
    new = rng.choice(TEXTS[:10])
    raw = json.dumps(root).replace(json.dumps(old), json.dumps(new))
    for part in ((f"({old}", f"({new}"), (f" {old},", f" {new},"), (f" {old})", f" {new})")):
        raw = raw.replace(*(json.dumps(p)[1:-1] for p in part))
    files.put_root(json.loads(raw))


def described(files, rng):
    """Replace the record of the optimizer or of the problem."""
    root = files.root()
    name, records = rng.choice((("make_optimizer", OPTIMIZERS), ("problem", PROBLEMS)))
    root["attributes"]["identity"][name] = rng.choice(records)
    files.put_root(root)


def entry(files, rng):
    """Remove a file or folder, or replace it by a file, a folder or a link.

    Links point to the file "victim" in the working folder, to this folder, or nowhere.
    """
    folders = {file.split("/")[0] for file in files if "/" in file}
    removed = rng.choice(sorted(rng.choice((folders, set(files)))))
    for file in [file for file in files if file == removed or file.startswith(f"{removed}/")]:
        del files[file]
    victim = Path("victim").absolute()
    if (change := rng.randrange(5)) < 4:
        files[removed] = (None, b"a file", rng.choice((victim, victim.parent)), Path("missing"))[
            change
        ]


def chunk(files, rng):
    """Replace the numbers of a chunk, with a valid checksum, which its record has half the time."""
    changed = rng.choice(chunks(files))
    raw = files[changed][:-4]
    same_length = (rng.randbytes(len(raw)), bytes(len(raw)), b"\xff" * len(raw))
    numbers = rng.choice((*same_length, raw[:-1], raw + raw, raw * 1000, b"", raw[:8]))
    files[changed] = numbers + google_crc32c.value(numbers).to_bytes(4, "little")
    if rng.random() < 0.5:
        files.bind(changed_chunks=True)


def exchanged(files, rng):
    """Swap two chunks of an array; update the records of their tiles with probability 1/2."""
    name = rng.choice(sorted({key.split("/")[0] for key in chunks(files)}))
    keys = [key for key in chunks(files) if key.startswith(f"{name}/")]
    one, other = rng.choice(keys), rng.choice(keys)
    files[one], files[other] = files[other], files[one]
    if rng.random() < 0.5:
        files.bind(changed_chunks=True)


def record(files, rng):
    """Add, replace or remove entries of the record of a tile, and update its digest."""
    key, (tile, document) = rng.choice(sorted(files.records().items()))
    part = document[rng.choice(("writers", "checksums"))]
    first = rng.randrange(len(part) + 1)
    entries = rng.choice(([], [rng.choice((*part, *TEXTS, *NUMBERS, *OTHERS))]))
    part[first : first + rng.choice((0, 1, len(part)))] = entries
    with contextlib.suppress(ValueError):  # a number that JSON has not
        files.put_record(key, tile, document)


def writer(files, rng):
    """Change the description of a writer, and the records of its tiles."""
    old = rng.choice(sorted(key for key in files if key.startswith(f"{WRITERS}/")))
    changed = json.loads(files.pop(old))
    path = rng.choice([path for path in nodes(changed) if path])
    changed = replaced(changed, path, rng.choice((*TEXTS, *NUMBERS, *OTHERS)))
    new = digest(changed)
    files[f"{WRITERS}/{new}"] = serialize(changed)
    for key, (tile, document) in files.records().items():
        names = [new if old.endswith(name) else name for name in document["writers"]]
        files.put_record(key, tile, document | {"writers": names})


def checkpoint(files, rng):
    """Change an array or a number of a checkpoint, and update its digest."""
    file = next(file for file in files if "/checkpoints/" in file)
    arrays, bound = array_file.unpack(files[file])
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    meta = rng.choice((bound, bound["meta"], bound["meta"]))
    if (change := rng.randrange(4)) == 0:
        arrays[rng.choice(TEXTS[:5])] = arrays.pop(name)
    elif change == 1:
        twice = np.ones((2, *array.shape), array.dtype)
        same_shape = (array.astype("f8"), array.astype("i2"), np.full_like(array, 2))
        arrays[name] = rng.choice((*same_shape, twice, np.ones(3)))
    elif change == 2:
        numbers = (-1, 0, 3, 10**6, 2**70, 1.5)
        meta[rng.choice(sorted(meta))] = copy.deepcopy(rng.choice((*OTHERS, *numbers)))
    else:
        meta.pop(rng.choice(sorted(meta)))
    files[file] = array_file.pack(arrays, bound)


def harmless(files, rng):
    """Add a file, and change a description, which a reader ignores."""
    root = files.root()
    array = root["consolidated_metadata"]["metadata"]["cost"]
    array["attributes"]["long_name"] = rng.choice(("price", "cost of a step"))
    files["cost/zarr.json"] = serialize(array)
    files["notes.txt"] = b"what this is about"
    files.put_root(root)


KINDS = (
    value, key, nesting, value, length, metadata, metadata, name, metadata, value, described, entry,
    described, entry, chunk, entry, chunk, exchanged, entry, record, writer, checkpoint, harmless,
)  # fmt: skip
