"""Declarations of results: the name, dimensions, unit and meaning of each quantity.

    quantities, values -> Dataset with attributes,   quantities -> documentation

>>> WEATHER = {"rain": Quantity("amount of rain", ("day",), "mm")}
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

import inspect
import textwrap
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gdjax.base.status import flags

if TYPE_CHECKING:
    import xarray as xr

Function = TypeVar("Function", bound=Callable)


class Quantity(NamedTuple):
    """A quantity of a result.

    Args:
        long_name: its meaning, also a label of axes in figures.
        dims: names of its dimensions.
        units: its unit, "1" if it has none.
        codes: meanings of its values, if these are codes.
    """

    long_name: str
    dims: tuple[str, ...] = ()
    units: str = "1"
    codes: type[IntEnum] | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a variable, by the CF conventions."""
        codes = flags(self.codes) if self.codes else {}
        return {"long_name": self.long_name, "units": self.units, **codes}


def quantities(dims: str, **long_names: str) -> dict[str, Quantity]:
    """Declare quantities without units.

    Args:
        dims: names of their dimensions, separated by spaces.
        long_names: long name of each quantity.
    """
    return {name: Quantity(text, tuple(dims.split())) for name, text in long_names.items()}


def as_dataset(
    declared: Mapping[str, Quantity],
    values: Mapping[str, Any],
    coordinates: Mapping[str, Any] | None = None,
) -> "xr.Dataset":
    """Return a Dataset of declared quantities.

    Args:
        declared: declarations by name.
        values: values of some of the quantities, by name.
        coordinates: values of quantities that are coordinates, by name.
    """
    import xarray as xr

    variables, coords = (
        {name: (declared[name].dims, value, declared[name].attributes) for name, value in given}
        for given in (values.items(), (coordinates or {}).items())
    )
    return xr.Dataset(variables, coords)


def document(declared: Mapping[str, Quantity]) -> Callable[[Function], Function]:
    """Return a decorator that replaces `{quantities}` in a docstring by their declarations."""
    entries = []
    for name, (text, dims, units, _) in declared.items():
        over = f" ({', '.join(dims)})" if dims else ""
        unit = f", in {units}" if units != "1" else ""
        entry = f"- `{name}`{over}: {text}{unit}."
        entries.append(textwrap.fill(entry, 88, subsequent_indent="  "))

    def documented(function: Function) -> Function:
        before, after = inspect.cleandoc(function.__doc__ or "").split("{quantities}")
        indent = before[before.rindex("\n") + 1 :]
        text = textwrap.indent("\n".join(entries), indent).removeprefix(indent)
        function.__doc__ = before + text + after
        return function

    return documented
