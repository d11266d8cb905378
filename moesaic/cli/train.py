"""`moesaic train`: the command of `moesaic.training.command`, which `python -m moesaic.training` runs as well."""

from moesaic.training.command import train

__all__ = ["train"]
