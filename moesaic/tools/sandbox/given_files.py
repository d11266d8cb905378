"""Files that are given to a program: checked here, made by the child itself, behind its walls."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from moesaic.errors import InputError

__all__ = ["checked_files"]

_MAX_FILES, _MAX_NAME_CHARACTERS, _MAX_DEPTH = 64, 200, 8
_PAGE_BYTES = 4096


def checked_files(files: Mapping[str, bytes], most_bytes: int) -> dict[str, bytes]:
    """The files, if the working directory can hold them and every name stays below it.

    Raises:
        InputError: it cannot, or a name leads elsewhere.
    """
    if len(files) > _MAX_FILES:
        raise InputError(f"files: {len(files)} are too many, at most {_MAX_FILES} can be given")

    for name, content in files.items():
        path = PurePosixPath(name)
        sound = bool(name) and str(path) == name and not path.is_absolute() and ".." not in path.parts
        if not sound or "\0" in name or len(name) > _MAX_NAME_CHARACTERS or len(path.parts) > _MAX_DEPTH:
            raise InputError(
                f"files: the name {name[:_MAX_NAME_CHARACTERS]!r} must be a plain path below the working directory, "
                f"such as 'data/table.csv', of at most {_MAX_NAME_CHARACTERS} characters and {_MAX_DEPTH} parts"
            )
        if not isinstance(content, bytes):
            raise InputError(f"files: the content of {name!r} must be bytes, not {type(content).__name__}")

    total = sum(-(-len(content) // _PAGE_BYTES) * _PAGE_BYTES for content in files.values())
    if total > most_bytes:
        raise InputError(
            f"files: {total} bytes do not fit into the scratch_bytes={most_bytes} of the working directory"
        )
    return dict(files)
