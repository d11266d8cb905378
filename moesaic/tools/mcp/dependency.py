"""The Model Context Protocol's own SDK, imported when first needed."""

import importlib
from typing import Any

from moesaic.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str) -> Any:
    """Import a module of the SDK.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"MCP needs {module}, which cannot be imported ({error}): pip install 'moesaic[tools]'"
        ) from error
