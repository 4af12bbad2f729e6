"""Distinct minima among the end points of many descents, and paths between them.

The modules contain further functions, such as `gdjax.minima.symmetry.random_symmetry`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
