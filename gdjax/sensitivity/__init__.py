"""Sensitivity of a run: to its starting point, and to its learning rates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
