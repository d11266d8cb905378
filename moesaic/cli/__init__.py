"""The `moesaic` command: one file per verb; every part of Moesaic is imported only by the verb that needs it."""

from moesaic.cli.app import main

__all__ = ["main"]
