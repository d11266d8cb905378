"""Secrets out of what is written down: values whose name says so, and texts that look like a credential.

Whatever it replaces shows as `[redacted]`. It errs on the side of caution: an audit that lacks a harmless word is less
of a loss than one that holds a password.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretBytes, SecretStr

__all__ = ["REDACTED", "redacted"]

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)|secret|token|api[-_ ]?key|private[-_ ]?key|access[-_ ]?key|authori[sz]ation|credential"
    r"|cookie|session[-_ ]?id|密码|口令|密钥|令牌",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JSON web token
    r"|\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|hf|xox[abp])[-_][A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user:password@host
    r"|(?<=[?&;\s])(?:[\w-]*(?:password|passwd|secret|token|api[-_]?key|access[-_]?key|signature))=[^\s&;#'\"]+",
    re.IGNORECASE | re.DOTALL,
)
_MAX_DEPTH = 32


def redacted(value: Any, *, max_characters: int = 2000, _depth: int = 0) -> Any:
    """A copy of a JSON value without secrets, its texts at most `max_characters` long."""
    if isinstance(value, SecretStr | SecretBytes) or _depth > _MAX_DEPTH:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            _text(str(key), max_characters): REDACTED
            if _SECRET_NAME.search(str(key)) and part not in (None, "")
            else redacted(part, max_characters=max_characters, _depth=_depth + 1)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(part, max_characters=max_characters, _depth=_depth + 1) for part in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _text(str(value), max_characters)


def _text(text: str, max_characters: int) -> str:
    clean = _SECRET_TEXT.sub(REDACTED, text)
    return clean if len(clean) <= max_characters else f"{clean[:max_characters]}…[{len(clean)} characters]"
