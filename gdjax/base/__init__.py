"""What every room uses and no user's function enters: errors, arguments, keys, slabs, files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
