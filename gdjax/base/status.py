"""Integer codes that are shown by their names in words."""

from enum import IntEnum


class Status(IntEnum):
    """Integer code, such as a status or a kind, that is shown by its name in words."""

    @property
    def label(self) -> str:
        """The name in lower case with spaces, such as "not finite"."""
        return self.name.lower().replace("_", " ")
