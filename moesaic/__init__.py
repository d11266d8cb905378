"""Moesaic: build, serve and refresh a private specialist language model."""

__all__ = ["__version__"]

__version__ = "0.1.0"
