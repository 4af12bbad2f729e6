"""Status flags of the CF conventions: integers with their meanings as attributes.

>>> from enum import IntEnum
>>> class Weather(IntEnum):
...     DRY = 0
...     HEAVY_RAIN = 1
>>> flags(Weather)
{'flag_values': [0, 1], 'flag_meanings': 'dry heavy_rain'}

Source: CF conventions 1.12, section 3.5.
"""

from enum import IntEnum
from typing import Any


class Status(IntEnum):
    """Integer code, such as a status or a kind, that is shown by its name in words."""

    @property
    def label(self) -> str:
        """The name in lower case with spaces, such as "not finite"."""
        return self.name.lower().replace("_", " ")


def flags(statuses: type[IntEnum], **more: int) -> dict[str, Any]:
    """Return the attributes `flag_values` and `flag_meanings` of statuses and of more codes."""
    codes = {status.name.lower(): int(status) for status in statuses} | more
    return {"flag_values": list(codes.values()), "flag_meanings": " ".join(codes)}
