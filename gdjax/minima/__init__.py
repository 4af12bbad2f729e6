"""Distinct minima among the end points of many descents, and paths between them.

The modules contain more than the names here, such as `gdjax.minima.symmetry.random_symmetry`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
