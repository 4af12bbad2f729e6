"""Critical points: which kind of point it is, with evidence, and the way to the nearest one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
