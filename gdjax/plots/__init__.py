"""Pictures from arrays: a file each kind of picture that more than one caller draws.

Each module is imported when it is first used: `gd.plots.landscapes.planes(...)`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
