"""What counts as a whole number, wherever a user or a file gives one.

>>> is_whole(3), is_whole(0, 1), is_whole(True), is_whole(3.0)
(True, False, False, False)
"""

from typing import Any, TypeGuard

import numpy as np


def is_whole(value: Any, least: int = 0, most: int | float = np.inf) -> TypeGuard[int]:
    """Whether a value is a whole number from `least` to `most`; a truth value is none.

    NumPy's integers are whole numbers, floats without a fraction are not: they may come from a
    division that was to be rounded.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return whole and bool(least <= value <= most)
