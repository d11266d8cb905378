"""`ApiKey`: a secret that is sent and never shown."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from moesaic.errors import InputError

__all__ = ["ApiKey"]


class ApiKey:
    """A key of a search engine. Printing, comparing and logging it show where it comes from, not what it is.

    Args:
        value: the key.
        source: where it comes from, for messages.

    Raises:
        InputError: it is blank, or has characters that no header may hold.
    """

    __slots__ = ("_value", "source")

    def __init__(self, value: str, *, source: str) -> None:
        stripped = value.strip()
        if not stripped or not stripped.isascii() or not stripped.isprintable():
            raise InputError(f"the key in {source} is blank or not printable ASCII: copy it anew")

        self._value = stripped
        self.source = source

    @classmethod
    def find(cls, variable: str, file: Path | None, environ: Mapping[str, str] | None = None) -> Self | None:
        """The key in a file, or in a variable of the environment; None if there is neither.

        Raises:
            InputError: the file cannot be read, or holds no key.
        """
        if file is not None:
            try:
                return cls(file.expanduser().read_text(encoding="utf-8"), source=str(file))
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(f"the key file {file} cannot be read ({error})") from error

        value = (os.environ if environ is None else environ).get(variable, "")
        return cls(value, source=variable) if value.strip() else None

    def reveal(self) -> str:
        """The key itself, for the header that carries it."""
        return self._value

    def struck_from(self, text: str) -> str:
        """A text, such as an error that a server sent, in which the key is not to be seen."""
        return text.replace(self._value, "[key]")

    def __repr__(self) -> str:
        return f"ApiKey({self.source!r})"
