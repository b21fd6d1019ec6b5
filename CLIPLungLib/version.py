"""The one place that says which CLIPLung this is."""

__version__ = "0.2.0"
