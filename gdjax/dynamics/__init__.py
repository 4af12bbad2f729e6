"""Theory of one run: continuous limits, and dependence on the start and the learning rates."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
