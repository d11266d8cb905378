"""The text of a manual page: roff without its requests, for the pages that Debian packages carry."""

import re

__all__ = ["read_man_page"]

_COMMENT = re.compile(r'^[.\']\s*\\"|^\.\\"')
_REQUEST = re.compile(r"^[.']\s*([A-Za-z]{0,4})\s*(.*)$")
_HEADINGS = frozenset(("SH", "SS", "Sh", "Ss"))
_BREAKS = frozenset(
    ("PP", "P", "LP", "TP", "IP", "HP", "sp", "br", "Pp", "RS", "RE", "nf", "fi", "EX", "EE", "It", "Bl", "El")
)
_WITH_TEXT = frozenset(
    (
        "B",
        "I",
        "BI",
        "BR",
        "IB",
        "IR",
        "RB",
        "RI",
        "SM",
        "SB",
        "Nm",
        "Nd",
        "Ar",
        "Fl",
        "Op",
        "Em",
        "Xr",
        "Pa",
        "Li",
        "Dq",
        "Sq",
        "It",
        "IP",
    )
)
_JOINED = frozenset(("BI", "BR", "IB", "IR", "RB", "RI"))
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_ESCAPES = (
    (re.compile(r'\\".*$', re.MULTILINE), ""),
    (re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)"), ""),
    (re.compile(r"\\s(?:[+-]?\d|\[[^\]]*\])"), ""),
    (re.compile(r"\\m\[[^\]]*\]|\\[hvw]'[^']*'"), ""),
    (re.compile(r"\\\*\(?(?:lq|rq|\(lq|\(rq)|\\\((?:lq|rq|dq)"), '"'),
    (re.compile(r"\\\((?:aq|cq|oq)|\\\[aq\]"), "'"),
    (re.compile(r"\\\((?:em|en|hy|mi)"), "-"),
    (re.compile(r"\\\(bu"), "•"),
    (re.compile(r"\\(?:\(..|\[[^\]]*\]|\*\(..|\*\[[^\]]*\]|\*.)"), ""),
    (re.compile(r"\\[-]"), "-"),
    (re.compile(r"\\e|\\\\"), r"\\"),
    (re.compile(r"\\[ ~0]"), " "),
    (re.compile(r"\\[&|^/,%:cdu)]"), ""),
)


def read_man_page(source: str) -> str:
    """Headings, paragraphs and examples of a page as plain text."""
    lines: list[str] = []
    for line in source.split("\n"):
        if _COMMENT.match(line):
            continue

        request = _REQUEST.match(line) if line[:1] in (".", "'") else None
        if request is None:
            lines.append(_plain(line))
            continue

        name, rest = request.groups()
        words = [first.replace('""', '"') or second for first, second in _ARGUMENT.findall(rest)]
        if name in _HEADINGS:
            lines += ["", _plain(" ".join(words)), ""]
        elif name in _WITH_TEXT and words:
            lines += [""] if name in ("It", "IP") else []
            lines.append(_plain(("" if name in _JOINED else " ").join(words[:1] if name == "IP" else words)))
        elif name in _BREAKS:
            lines.append("")
    return _filled(lines)


def _plain(text: str) -> str:
    for pattern, replacement in _ESCAPES:
        text = pattern.sub(replacement, text)
    return text.rstrip()


def _filled(lines: list[str]) -> str:
    """Lines that follow each other are one paragraph; indented ones are kept as they are."""
    parts: list[str] = []
    for line in lines:
        if not line.strip():
            parts.append("\n\n")
        elif parts and parts[-1] != "\n\n":
            chinese = ord(parts[-1][-1]) > 0x2E80 and ord(line[0]) > 0x2E80
            parts.append(("\n" if line[0] in " \t" else "" if chinese else " ") + line)
        else:
            parts.append(line)
    return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip()
