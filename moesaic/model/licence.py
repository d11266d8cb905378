"""The licence of a base model: its name, and its text where the base carries one.

- The name is an SPDX identifier where the source spells a known one ("apache-2.0" in a GGUF file or a model card),
  otherwise what the source says.
- Nothing is guessed: a base that states no licence has none here, and no text is filled in for a name.
"""

import re
from pathlib import Path
from typing import NamedTuple

__all__ = ["BaseLicence", "find_licence_text", "read_card_licence", "spdx_name"]

_KNOWN = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC0-1.0")
_SPDX = {name.lower(): name for name in _KNOWN}
_TEXT_NAMES = ("LICENSE-base.txt", "LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
_CARD_HEADER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_CARD_FIELD = re.compile(r"^(license|license_name):[ \t]*['\"]?([^'\"#\n]+?)['\"]?[ \t]*(?:#.*)?$", re.MULTILINE)


class BaseLicence(NamedTuple):
    """Name and text of the licence of a base model; each is None where the base doesn't tell."""

    name: str | None
    text: str | None


def spdx_name(name: str | None) -> str | None:
    """The SPDX spelling of a licence name, the name itself if it isn't a known one, None for nothing."""
    stripped = (name or "").strip()
    return _SPDX.get(stripped.lower(), stripped) or None


def find_licence_text(folder: Path) -> str | None:
    """Text of the licence file that lies in a folder, None if there is none."""
    for name in _TEXT_NAMES:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8", errors="replace")
    return None


def read_card_licence(folder: Path) -> str | None:
    """Licence name in the header of a model card (README.md), None if no card states one.

    A card whose `license` is "other" names it in `license_name`.
    """
    card = folder / "README.md"
    header = _CARD_HEADER.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    fields = dict(_CARD_FIELD.findall(header.group(1))) if header else {}
    if fields.get("license") == "other":
        return spdx_name(fields.get("license_name"))
    return spdx_name(fields.get("license"))
