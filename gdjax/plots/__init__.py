"""Figures from arrays and Datasets: a module for each kind that has more than one caller.

A function of one panel draws into `ax`, or into a new figure, and returns the axes
(`axes.figure.savefig("name.png")`); a function of several panels returns the figure. Each module is
imported when it is first used: `gd.plots.landscapes.planes(...)`. `gd.plot(result)` chooses the
figure for a result.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
