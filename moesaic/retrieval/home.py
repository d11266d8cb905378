"""The folder of a person's knowledge bases: each lies below it, under its name."""

import os
import re
from difflib import get_close_matches
from pathlib import Path

from moesaic.artifact.staging import lock_folder, unlock_folder
from moesaic.errors import InputError, KnowledgeBaseBusyError, NotFoundError, StorageError
from moesaic.retrieval.database import DATABASE_NAME
from moesaic.retrieval.embedder import Embedder
from moesaic.retrieval.index_files import remove_other_generations
from moesaic.retrieval.knowledge_base import KnowledgeBase

__all__ = ["HOME_VARIABLE", "KnowledgeHome"]

HOME_VARIABLE = "MOESAIC_KB_HOME"
"""Environment variable that names another home than ~/.local/share/moesaic/kb."""

_NAME = re.compile(r"\w[\w.-]{0,63}")


class KnowledgeHome:
    """Knowledge bases by name.

    Args:
        folder: the home; if not given, the one of the environment, or `~/.local/share/moesaic/kb`.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        given = folder or os.environ.get(HOME_VARIABLE) or "~/.local/share/moesaic/kb"
        self.folder = Path(given).expanduser().absolute()

    def names(self) -> list[str]:
        """Names of the knowledge bases, in order."""
        if not self.folder.is_dir():
            return []

        return sorted(path.parent.name for path in self.folder.glob(f"*/{DATABASE_NAME}"))

    def path(self, name: str) -> Path:
        """Folder of a knowledge base, whether or not it is there.

        Raises:
            InputError: no base may have this name.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} cannot name a knowledge base: use 1 to 64 letters, digits, '.', '_' and '-', a letter first"
            )

        return self.folder / name

    def open(self, name: str, *, embedder: Embedder | None = None) -> KnowledgeBase:
        """Open a knowledge base by name; errors are those of `KnowledgeBase.open`.

        Raises:
            NotFoundError: there is none of this name.
        """
        return KnowledgeBase.open(self._existing(name), embedder=embedder)

    def remove(self, name: str) -> None:
        """Remove a knowledge base and all its files; other files in its folder stay, and the folder with them.

        Raises:
            NotFoundError: there is none of this name.
            KnowledgeBaseBusyError: another process is writing to it.
            StorageError: its files may not be removed.
        """
        folder = self._existing(name)
        lock = lock_folder(folder, wait=False)
        if lock is None:
            raise KnowledgeBaseBusyError(f"another process is writing to {folder}: try again when it is done")

        try:
            (folder / DATABASE_NAME).unlink()
            remove_other_generations(folder, -1)
            if not any(folder.iterdir()):
                folder.rmdir()
        except OSError as error:
            raise StorageError(f"cannot remove {folder} ({error}): give this user access to it") from error
        finally:
            unlock_folder(lock)

    def _existing(self, name: str) -> Path:
        if not (self.path(name) / DATABASE_NAME).exists():
            names = self.names()
            nearest = get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
            there = f"{self.folder} has {', '.join(map(repr, nearest))}" if names else f"{self.folder} has none"
            raise NotFoundError("knowledge base", name, f"{there}; make it with: moesaic kb add {name} PATH")

        return self.path(name)
