"""CLIPLung: how suspicious a lung nodule looks on CT, and why. Research use only.

The package stays importable without torch, Slicer or matplotlib: heavy imports happen inside the functions that need them.
"""

from CLIPLungLib.version import __version__

__all__ = ["__version__"]
