"""Derivatives of the cost at a point, and the kind of a critical point."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
