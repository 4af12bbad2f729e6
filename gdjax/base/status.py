"""Status flags of the CF conventions: integers with their meanings as attributes.

>>> from enum import IntEnum
>>> class Weather(IntEnum):
...     DRY = 0
...     HEAVY_RAIN = 1
>>> flags(Weather)
{'flag_values': [0, 1], 'flag_meanings': 'dry heavy_rain'}

Source: CF conventions 1.12, section 3.5.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

FORMER_NAMES = {"descending": "not_converged", "dead": "stalled"}
"""Current names of outcomes, by their names in results of earlier versions."""


class Status(IntEnum):
    """Integer code, such as a status or a kind, that is shown by its name in words."""

    @property
    def label(self) -> str:
        """The name in lower case with spaces, such as "not finite"."""
        return self.name.lower().replace("_", " ")


def current_names(attrs: Mapping[str, Any]) -> list[str]:
    """Return the `flag_meanings` of a variable, with current names of outcomes."""
    return [FORMER_NAMES.get(name, name) for name in str(attrs.get("flag_meanings", "")).split()]


def flags(statuses: type[IntEnum], **more: int) -> dict[str, Any]:
    """Return the attributes `flag_values` and `flag_meanings` of statuses and of more codes."""
    codes = {status.name.lower(): int(status) for status in statuses} | more
    return {"flag_values": list(codes.values()), "flag_meanings": " ".join(codes)}
