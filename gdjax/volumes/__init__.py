"""Volumes of basins within a level of the cost, and local learning coefficients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
