"""A result that took long, kept in a file with what it was made of: the same question is not worked out twice."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from moesaic.training.data.durable import made_folder, written_json

__all__ = ["kept_result"]

_log = logging.getLogger(__name__)


def kept_result(path: Path, made_of: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result in a JSON file if it was made of the same, or else a new one, which is written there.

    Args:
        path: of the file; its folder is made.
        made_of: everything that decides the result, as JSON values.
        make: works the result out, as JSON values.

    Raises:
        StorageError: the disk refuses.
        What `make` raises.
    """
    plain = json.loads(json.dumps(made_of))
    if path.is_file():
        try:
            known = json.loads(path.read_bytes())
            if known["made_of"] == plain:
                return dict(known["result"])
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s) and is made again", path, error)
    made_folder(path.parent)
    result = make()
    written_json(path, {"made_of": plain, "result": result})
    return result
