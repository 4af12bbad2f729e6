"""Searches: sweeps that spend their steps on the runs that are worth it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
