"""A program's error in words that its author understands: what failed, and which wall it met.

The walls answer with EPERM, which Python shows as "Operation not permitted", whatever was tried. What was tried is read
from the error: a path, the library that raised it, or the words of the program at that place.
"""

import errno
import re
import traceback
from collections.abc import Iterator
from types import TracebackType

__all__ = ["PROGRAM", "describe"]

PROGRAM = "<program>"
"""File name of a program's code."""

_NETWORK, _PROCESSES = "network access is not allowed", "starting or signalling processes is not allowed"
_THREADS, _FILES = "starting threads is not allowed", "file access is not allowed"
_DENIED = (errno.EPERM, errno.EACCES, errno.EROFS)
_LIBRARIES = {
    _NETWORK: re.compile(r"[/\\](socket|ssl|selectors|ftplib|smtplib|http|urllib|asyncio)\b"),
    _PROCESSES: re.compile(r"[/\\](subprocess|multiprocessing|pty|concurrent)\b"),
    _FILES: re.compile(r"[/\\](pathlib|shutil|tempfile|glob|genericpath|posixpath|linecache)\b"),
}
_WORDS = {
    _NETWORK: re.compile(r"socket|connect|urlopen|getaddrinfo|gethostby"),
    _PROCESSES: re.compile(r"fork|exec[lv]|spawn|popen|Popen|system\(|kill|subprocess|Process"),
    _FILES: re.compile(r"open|listdir|scandir|stat|mkdir|remove|unlink|rename|chdir|getcwd|path|read|write|link|walk"),
}
_NETWORK_ERRORS = frozenset({"gaierror", "herror", "URLError", "SSLError"})
_TYPE_CHARACTERS = 200
_MESSAGE_CHARACTERS = 2000
_TRACEBACK_CHARACTERS = 8000


def describe(error: BaseException) -> dict[str, str]:
    """Type, message and traceback of an error, the sandbox's own frames left out and every part limited in length."""
    message, hint = str(error), _hint(error)
    if hint is not None:
        message = f"{message} ({hint} in the sandbox)"
    shown = traceback.TracebackException(type(error), error, _within_program(error.__traceback__), limit=-20)
    return {
        "type": _shortened(type(error).__qualname__, _TYPE_CHARACTERS),
        "message": _shortened(message, _MESSAGE_CHARACTERS),
        "traceback": _shortened("".join(shown.format()), _TRACEBACK_CHARACTERS),
    }


def _shortened(text: str, most: int) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[: most // 2]}\n...\n{text[-most // 2 :]}"


def _within_program(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None and trace.tb_frame.f_code.co_filename != PROGRAM:
        trace = trace.tb_next
    return trace


def _hint(error: BaseException) -> str | None:
    for cause in _chain(error):
        if isinstance(cause, RuntimeError) and "can't start new thread" in str(cause):
            return _THREADS
        if type(cause).__name__ in _NETWORK_ERRORS:
            return _NETWORK
        if isinstance(cause, OSError) and cause.errno in _DENIED:
            return _tried(cause)
        if isinstance(cause, FileNotFoundError) and cause.filename is not None:
            return "no files but those given to a program are there"
        if isinstance(cause, ImportError):
            return "only the standard library, numpy, sympy and dateutil can be there, and not all of it everywhere"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it comes from, at most ten deep."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        reason = getattr(found, "reason", None)
        found = reason if isinstance(reason, BaseException) else found.__cause__ or found.__context__


def _tried(error: OSError) -> str:
    """What was tried by what was refused."""
    files = " ".join(frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))
    for hint, pattern in _LIBRARIES.items():
        if hint is not _FILES and pattern.search(files):
            return hint
    if error.filename is not None or _LIBRARIES[_FILES].search(files):
        return _FILES
    lines = [line.line or "" for line in traceback.extract_tb(error.__traceback__) if line.filename == PROGRAM]
    for hint, pattern in _WORDS.items():
        if lines and pattern.search(lines[-1]):
            return hint
    return "this operation is not allowed"
