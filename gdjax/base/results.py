"""Results of a command or an experiment: summary, data and figures in a folder.

    results/<name>/<short hash of the config>/

Repeating a config overwrites only the results of that config.
"""

import os
import platform
import shlex
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from gdjax.base import documents
from gdjax.base.errors import GdjaxError, InputError

LARGE = 500 * 1024  # number of bytes above which a figure is reduced to 256 colors
PACKAGES = ("gdjax", "jax", "jaxlib", "optax", "numpy")


def digest(config: Any) -> str:
    """Return a hash of a config without its folder `out`, as 8 hex digits."""
    entries = documents.plain(config, other=str)
    entries.pop("out", None)
    return documents.digest(entries)[:8]


def folder(name: str, config: Any, out: Path | None) -> Path:
    """Create and return the folder for results, by default one for each config."""
    path = out if out is not None else Path("results") / name / digest(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--out = {path}: cannot create this folder ({error.strerror}); choose another"
        ) from error
    _check_writable(path, path)
    return path


def _check_writable(out, folder):
    if not os.access(folder, os.W_OK):
        raise InputError(f"--out = {out}: no permission to write there; choose another folder")


def page(name: str, config: Any, out: Path | None) -> Path:
    """Return the path of a config's HTML file, by default in the config's folder."""
    if out is None:
        return folder(name, config, None) / "page.html"
    if out.suffix not in (".html", ".htm") or out.is_dir():
        raise InputError(f"--out = {out}: expected the name of an .html file")
    if not out.parent.is_dir():
        raise InputError(
            f"--out = {out}: the folder {out.parent} does not exist; create it, or choose another"
        )
    _check_writable(out, out.parent)
    return out


def next_command(*words: Any) -> str:
    """Return the last line of a command's output: the suggested next command.

    Examples:
        >>> next_command("explore", Path("results/my sweep/runs.zarr"))
        "next: gdjax explore 'results/my sweep/runs.zarr'"
    """
    return f"next: gdjax {shlex.join(map(str, words))}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect results."""
    return {"python": platform.python_version()} | {p: metadata.version(p) for p in PACKAGES}


def write_summary(path: Path, name: str, config: Any, numbers: Mapping[str, Any]) -> None:
    """Write summary.json: name, config, versions, device and numbers."""
    import jax

    summary = {
        "name": name,
        "config": documents.plain(config, other=str),
        "versions": versions(),
        "device": f"{len(jax.local_devices())} x {jax.local_devices()[0].device_kind}",
        **documents.plain(numbers, other=str),
    }
    write(path / "summary.json", documents.serialize(summary).decode())


@contextmanager
def explain_os_errors(file: Path) -> Generator[None]:
    """Convert an `OSError` to an error that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        raise GdjaxError(
            f"{file}: could not be written ({error.strerror or error}); free some space or choose "
            f"another folder with --out"
        ) from error


def write(file: Path, text: str) -> None:
    """Write a text file atomically."""
    from gdjax.base.array_file import write_file  # it imports NumPy

    with explain_os_errors(file):
        write_file(file, text.encode())


def save_data(dataset: Any, store: Path) -> None:
    """Write a Dataset or DataTree as a Zarr store, replacing an earlier one."""
    with explain_os_errors(store):
        dataset.to_zarr(store, mode="w", zarr_format=3, consolidated=False)


def save_figure(figure: Any, file: Path) -> None:
    """Write a figure at 150 dots per inch, in 256 colors if the file is large."""
    with explain_os_errors(file):
        figure.savefig(file, dpi=150)
        # An animation is saved as .webp instead, so `file` may not exist.
        if file.is_file() and file.stat().st_size > LARGE:
            from PIL import Image

            with Image.open(file) as image:
                # MAXCOVERAGE keeps rare colors, such as those of a few markers.
                reduced = image.convert("RGB").quantize(
                    256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE
                )
            reduced.save(file, optimize=True)
