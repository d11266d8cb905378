"""The words by which a text is found literally.

- Case and width do not matter (NFKC, casefold); words are not stemmed.
- An identifier counts as a whole and by its parts: `os.path_sep` gives itself, `os`, `path`, `sep`; `__init__` gives
  itself and `init`.
- Operators of two or three signs (`:=`, `**`, `!=`) are words; rows of signs that only rule a line are not.
- Chinese is cut into words by rjieba, long words also into the shorter ones inside (as jieba's search mode does).
"""

import re
import unicodedata

from moesaic.retrieval.dependency import require

__all__ = ["lexical_tokens"]

_TOKEN = re.compile(
    r"(?P<han>[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
    r"|(?P<word>[^\W\u3400-\u9fff\uf900-\ufaff]+(?:[.\-'’][^\W\u3400-\u9fff\uf900-\ufaff]+)*(?:\+\+|\#)?)"
    r"|(?P<operator>(?<![+\-*/%@&|^~<>=!:])[+\-*/%@&|^~<>=!:]{2,3}(?![+\-*/%@&|^~<>=!:]))"
)
_JOINTS = re.compile(r"[._\-'’+#]+")


def lexical_tokens(text: str) -> list[str]:
    """The tokens of a text, in order, repetitions included."""
    tokens: list[str] = []
    for match in _TOKEN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        token = match[0]
        if match.lastgroup == "han":
            tokens += require("rjieba").cut_for_search(token)
        elif match.lastgroup == "operator":
            tokens.append(token)
        else:
            tokens.append(token)
            inner = [part for part in _JOINTS.split(token) if part]
            if inner != [token]:
                tokens += inner
    return tokens
