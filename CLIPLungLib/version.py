"""The one place that says which CLIPLung this is."""

__version__ = "0.8.0"
