"""Figures of results, Datasets and arrays, one module for each kind of figure.

A function that draws one panel draws into `ax`, or into a new figure, and returns the axes
(`axes.figure.savefig("name.png")`); a function that draws several panels returns the figure. Each
module is imported on first use: `gd.plots.landscapes.planes(...)`. `gd.plot(result)` chooses the
figure for a result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
