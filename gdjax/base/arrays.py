"""Arrays of results: name, dimensions, type, unit and meaning, declared once.

    Array                              declaration of one array
    Schema                             arrays over a grid of runs, and their coordinates
    arrays, values -> Dataset          arrays -> documentation

Programs, memory, stores, Datasets, tables and docstrings read these declarations.

>>> WEATHER = {"rain": Array("amount of rain", ("day",), "mm")}
>>> as_dataset(WEATHER, {"rain": [0.0, 2.5]})["rain"].attrs
{'long_name': 'amount of rain', 'units': 'mm'}
>>> @document(WEATHER)
... def forecast():
...     '''Return a Dataset.
...
...     {quantities}
...     '''
>>> print(forecast.__doc__.splitlines()[2].strip())
- `rain` (day): amount of rain, in mm.
"""

import collections
import dataclasses
import inspect
import math
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from gdjax.base.arguments import check_whole
from gdjax.base.errors import InputError

if TYPE_CHECKING:
    import xarray as xr

Function = TypeVar("Function", bound=Callable)
Int = Literal["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DataType = Literal["bool", Int, "float16", "float32", "float64"]
FLAGS = "finished"  # array over the grid that is not 0 where a run has been computed
METADATA = "zarr.json"  # file with the metadata of a store, and of each array in its folder
MAX_NAME_BYTES = 200

# Windows interprets these names as devices, with any file extension.
_DEVICES = {"con", "prn", "aux", "nul", *(f"com{n}" for n in range(10))}

# xarray converts numbers with these units to time spans, with a warning.
_DECODED_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds", "microseconds")


class Array(NamedTuple):
    """Declaration of an array.

    Args:
        long_name: its meaning, also a label of axes in figures.
        dims: names of its dimensions.
        units: its unit, "1" if it has none.
        codes: meanings of its values, if these are codes: an enumeration, or codes by meaning.
        comment: a further remark.
        dtype: data type; None for that of its values.
        fill: value where nothing has been computed yet. None means NaN for floats, False for
            booleans, and the smallest value of signed and the largest of unsigned integers.
    """

    long_name: str = ""
    dims: tuple[str, ...] = ()
    units: str = "1"
    codes: type[IntEnum] | Mapping[str, int] | None = None
    comment: str = ""
    dtype: Any = None
    fill: Any = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a variable, by the CF conventions."""
        attributes: dict[str, Any] = {"long_name": self.long_name} if self.long_name else {}
        attributes["units"] = self.units
        if self.codes:
            codes = self.codes if isinstance(self.codes, Mapping) else codes_of(self.codes)
            attributes |= {"flag_values": [*codes.values()], "flag_meanings": " ".join(codes)}
        return attributes | ({"comment": self.comment} if self.comment else {})

    @property
    def fill_value(self) -> Any:
        """Value where nothing has been computed yet."""
        kind = np.dtype(self.dtype).kind
        if self.fill is None and kind in "iu":
            limits = np.iinfo(self.dtype)
            return limits.min if kind == "i" else limits.max
        default = math.nan if kind == "f" else False
        return default if self.fill is None else self.fill


def codes_of(statuses: type[IntEnum], **more: int) -> dict[str, int]:
    """Return the codes of an enumeration and further codes, by meaning."""
    return {status.name.lower(): int(status) for status in statuses} | more


@dataclass(frozen=True, eq=False)
class Schema:
    """Arrays over a grid of runs, and their coordinates.

    Args:
        sizes: length of every dimension.
        tile: length of a tile along each dimension of the grid, in the grid's order.
        arrays: results of the runs by name, whose dimensions begin with those of the grid; the name
            of a parameter joins its keys by dots (`params.0.weights`).
        coordinates: coordinates by name. One with the name of its only dimension indexes it.
        values: values of the coordinates, which a schema that is read from a store does not have.
    """

    sizes: Mapping[str, int]
    tile: Mapping[str, int]
    arrays: Mapping[str, Array]
    coordinates: Mapping[str, Array] = field(default_factory=dict)
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        sizes, tile = ({d: int(n) for d, n in of.items()} for of in (self.sizes, self.tile))
        coordinates = dict(self.coordinates)
        for name, values in self.values.items():
            fill = 0 if values.dtype.kind in "iu" else None
            coordinates[name] = coordinates[name]._replace(dtype=values.dtype, fill=fill)
        for name, value in {"sizes": sizes, "tile": tile, "coordinates": coordinates}.items():
            object.__setattr__(self, name, value)
        for argument, lengths in (("sizes", sizes), ("tile", tile)):
            for dim, length in lengths.items():
                check_name(dim, argument)
                check_whole(f"{argument}[{dim!r}]", length, 1, math.inf)
        if not tile or not self.arrays:
            raise InputError("schema: expected at least one dimension in tile and one array")
        for name, array in (*self.arrays.items(), *coordinates.items()):
            _check_array(name, array, sizes)
        self._check_names()
        for name, values in self.values.items():
            if values.shape != self.shape(coordinates[name]):
                raise InputError(
                    f"schema: coordinate {name!r} has shape {values.shape} over "
                    f"{coordinates[name].dims}; expected {self.shape(coordinates[name])}"
                )

    def _check_names(self):
        grid, names = tuple(self.tile), [*self.arrays, *self.coordinates, FLAGS]
        for name, array in self.arrays.items():
            if array.dims[: len(grid)] != grid or name in self.sizes:
                raise InputError(
                    f"array {name} has dims {array.dims}; expected the dimensions {grid} of the "
                    f"grid first, and a name other than that of a dimension"
                )
        if spaced := [name for name in self.coordinates if " " in name]:
            raise InputError(f"coordinate {spaced[0]!r}: expected a name without spaces")
        if twice := [name for name, count in collections.Counter(names).items() if count > 1]:
            raise InputError(f"{twice} are names of two arrays; rename one ({FLAGS} is reserved)")
        check_distinct(names, "arrays")

    def shape(self, array: Array) -> tuple[int, ...]:
        """Return the shape of an array."""
        return tuple(self.sizes[dim] for dim in array.dims)

    def nbytes(self, names: Iterable[str] | None = None) -> int:
        """Return the total size of some arrays in bytes, by default of all."""
        arrays = map(self.arrays.__getitem__, self.arrays if names is None else names)
        return sum(math.prod(self.shape(a)) * np.dtype(a.dtype).itemsize for a in arrays)

    @property
    def runs(self) -> int:
        """Number of runs of the grid."""
        return math.prod(self.sizes[dim] for dim in self.tile)

    @property
    def tiles(self) -> tuple[int, ...]:
        """Number of tiles along each dimension of the grid."""
        return tuple(-(-self.sizes[dim] // n) for dim, n in self.tile.items())

    def region(self, tile: tuple[int, ...]) -> tuple[slice, ...]:
        """Return the part of the grid that a tile covers, cropped to the grid."""
        lengths = zip(tile, self.tile.items(), strict=True)
        return tuple(slice(i * m, min((i + 1) * m, self.sizes[dim])) for i, (dim, m) in lengths)

    def of(self, names: Iterable[str], tile: Mapping[str, int] | None = None) -> "Schema":
        """Return the schema of some arrays, without unused dimensions and coordinates."""
        arrays = {name: self.arrays[name] for name in names}
        used = {dim for array in arrays.values() for dim in array.dims}
        coordinates = {n: c for n, c in self.coordinates.items() if set(c.dims) <= used}
        return dataclasses.replace(
            self,
            sizes={dim: n for dim, n in self.sizes.items() if dim in used},
            tile=self.tile if tile is None else tile,
            arrays=arrays,
            coordinates=coordinates,
            values={name: self.values[name] for name in coordinates if name in self.values},
        )


def _check_array(name, array, sizes):
    """Check the name, dimensions, type and unit of an array."""
    check_name(name, "array")
    if len(set(array.dims)) < len(array.dims) or not set(array.dims) <= set(sizes):
        raise InputError(
            f"{name} has dims {array.dims}; expected distinct dimensions among {tuple(sizes)}"
        )
    if np.dtype(array.dtype).name not in get_args(DataType):
        raise InputError(
            f"{name} has dtype {np.dtype(array.dtype)}, which not every reader supports; cast to "
            f"float32, or store names as integers with codes"
        )
    if array.units in _DECODED_UNITS or " since " in array.units:
        raise InputError(
            f"{name} has units {array.units!r}, which xarray would decode as a duration; use the "
            f"symbol, such as 's'"
        )


def check_name(name: Any, argument: str) -> None:
    """Check that a name is a valid file name on every operating system.

    Args:
        name: name of an array, of a dimension, or of a problem in a comparison.
        argument: name of the argument that contains it, for the message.

    Examples:
        >>> check_name("params.0.weights", "arrays")
        >>> check_name("../x", "problems")
        Traceback (most recent call last):
        gdjax.base.errors.InputError: problems: '../x' is not a valid name: expected letters...
    """
    valid = (
        isinstance(name, str)
        and name.isprintable()
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
        and not set(name) & set('/\\:*?"<>|')
        and not name.startswith((".", "__", " "))
        and not name.endswith((".", " "))
        and name.casefold() != METADATA
        and name.split(".")[0].casefold() not in _DEVICES
    )
    if not valid:
        raise InputError(
            f"{argument}: {name!r:.80} is not a valid name: expected letters, digits and symbols "
            f'other than / \\ : * ? " < > |, at most {MAX_NAME_BYTES} bytes, not starting with '
            f"'.', '__' or a space, not ending with '.' or a space, and neither {METADATA!r} nor "
            f"the name of a Windows device (aux, nul)"
        )


def check_distinct(names: Iterable[str], argument: str) -> None:
    """Check that names are distinct file names, also on systems that ignore case."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name:
            raise InputError(
                f"{argument}: {other!r} and {name!r} are the same file on systems that ignore "
                f"case; rename one of them"
            )


def quantities(dims: str, **long_names: str) -> dict[str, Array]:
    """Declare quantities without units.

    Args:
        dims: names of their dimensions, separated by spaces.
        long_names: long name of each quantity.
    """
    return {name: Array(text, tuple(dims.split())) for name, text in long_names.items()}


def as_dataset(
    declared: Mapping[str, Array],
    values: Mapping[str, Any],
    coordinates: Mapping[str, Any] | None = None,
) -> "xr.Dataset":
    """Return a Dataset of declared arrays.

    Args:
        declared: declarations by name.
        values: values of some of the arrays, by name.
        coordinates: values of arrays that are coordinates, by name.
    """
    import xarray as xr

    variables, coords = (
        {name: (declared[name].dims, value, declared[name].attributes) for name, value in given}
        for given in (values.items(), (coordinates or {}).items())
    )
    return xr.Dataset(variables, coords)


def check_result(argument: str, dataset: Any, result: str, function: str) -> None:
    """Check that a Dataset is the result of a function of gdjax, by its attribute `result`."""
    if getattr(dataset, "attrs", {}).get("result") != result:
        raise InputError(
            f"{argument} = {type(dataset).__name__}, expected the result of {function}"
        )


def check_sweep_dataset(argument: str, runs: Any, *, or_else: str = "") -> None:
    """Check that an argument is the Dataset of a sweep, by its variables.

    `or_else` describes what else the function takes, for the message.
    """
    if not {"outcome", "step"} <= set(getattr(runs, "variables", ())):
        raise InputError(
            f"{argument} = {type(runs).__name__}, expected a Dataset of gd.sweep or "
            f"gd.open_dataset{or_else}"
        )


def document(declared: Mapping[str, Array]) -> Callable[[Function], Function]:
    """Return a decorator that replaces `{quantities}` in a docstring by declarations."""
    entries = []
    for name, array in declared.items():
        over = f" ({', '.join(array.dims)})" if array.dims else ""
        unit = f", in {array.units}" if array.units != "1" else ""
        entry = f"- `{name}`{over}: {array.long_name}{unit}."
        entries.append(textwrap.fill(entry, 88, subsequent_indent="  "))

    def documented(function: Function) -> Function:
        before, after = inspect.cleandoc(function.__doc__ or "").split("{quantities}")
        indent = before[before.rindex("\n") + 1 :]
        text = textwrap.indent("\n".join(entries), indent).removeprefix(indent)
        function.__doc__ = before + text + after
        return function

    return documented
