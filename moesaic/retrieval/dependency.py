"""The packages of the `retrieval` extra, imported when first needed: `import moesaic.retrieval` stays quick."""

import importlib
from types import ModuleType

from moesaic.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str) -> ModuleType:
    """Import a package of the extra.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"knowledge bases need {module}, which cannot be imported ({error}): pip install 'moesaic[retrieval]'"
        ) from error
