"""`Shield`: text that somebody else wrote, made unable to pass for the template's control tokens or for a call.

    cleaned = Shield().clean(page.text)
    cleaned.text, cleaned.findings

- Control tokens keep their name and lose their form: `<|im_start|>` becomes `⟨im_start⟩`, `[INST]` becomes `⟨INST⟩`.
- Call markers and JSON in the form of a call are broken in one place; the rest stays readable.
- Invisible characters, directions and controls go, except where writing needs them (joined emoji, Persian, accents).
- Everything else is left byte for byte. Cleaning what is clean changes nothing.

It makes no guess about meaning: "ignore your instructions" stays. That such words are data and no orders is said by
`moesaic.tools.shield.spotlight`, and a model may still be talked into something: what a tool may do is for the
toolbox to bound.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Self

from moesaic.errors import InputError
from moesaic.tools.shield.control_tokens import CONTROL_TOKEN, literal_pattern
from moesaic.tools.shield.finding import Finding, FindingKind
from moesaic.tools.shield.look_alikes import folded

__all__ = ["Cleaned", "Shield"]

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\ufff9-\ufffb]+"
)
_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]+")
_INVISIBLE = re.compile(
    "[\u200b\u2060-\u2065\ufeff\u034f\u180e\u115f\u1160\U000e0000-\U000e00ff]+"
    "|(?<![^\x00-\x7f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\x00-\x7f])"  # other scripts join signs with them
    "|(?<=[\ufe00-\ufe0f])[\ufe00-\ufe0f]+|[\U000e0100-\U000e01ef]{2,}"
)
_CALL_OBJECT = re.compile(
    r"\{\s*(\"(?:name|tool|tool_name|function|function_call|tool_calls|action|recipient_name)\")(?=\s*:\s*"
    r"(?:\"[^\"\n]{0,100}\"\s*,\s*\"(?:arguments|parameters|args|input|action_input)\"\s*:|[\[{]))"
    r"|(\"(?:arguments|parameters)\")(?=\s*:\s*\{[^{}]{0,500}\}\s*,\s*\"name\"\s*:)"
)
_DELIMITER = re.compile(
    r"[«≪]\s{0,9}/?\s{0,9}(?:end\s+of\s+data\b|data\s+(?:\d[\w-]*|[0-9a-f]{6,})\b)[^»≫\n]{0,200}[»≫]?", re.IGNORECASE
)
_ROLE_HEADING = re.compile(
    r"^[#*>\s]{0,8}(?:system|assistant|user|human|tool|instructions?|系统|用户|助手|人类|指令)\s*\**\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_ANY_CALL = re.compile(r"\[\s?\[\s*[^\W\d][\w-]{0,63}\s*:")
_SUSPICIOUS = re.compile(r"[<\[{«≪\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[^\x00-\x7f]")
_SIGNS = re.compile(r"[^\w\s]+")
_MOST_PASSES = 8
_SHOWN = 80


class Cleaned(NamedTuple):
    """Text that is safe to put into a prompt, and what was found in it."""

    text: str
    findings: tuple[Finding, ...]

    @property
    def is_changed(self) -> bool:
        """Whether anything had to be changed."""
        return any(finding.kind is not FindingKind.ROLE_HEADING for finding in self.findings)


class Shield:
    """Cleans text.

    Args:
        control_tokens: further control tokens, such as `control_tokens_of(folder)` gives for a model.
        call_markers: what opens a token-activated call, such as `[[search:`; the form `[[name:` counts always.
        characters: longest text.
    """

    def __init__(
        self,
        *,
        control_tokens: Collection[str] = (),
        call_markers: Collection[str] = (),
        characters: int = 200_000,
    ) -> None:
        if not 1 <= characters <= 100_000_000:
            raise InputError(f"characters={characters!r} must be 1 to 100 million")
        self.characters = characters
        self._control_tokens = frozenset(control_tokens)
        self._call_markers = frozenset(call_markers)
        self._patterns: list[tuple[FindingKind, re.Pattern[str]]] = [
            (FindingKind.CONTROL_TOKEN, CONTROL_TOKEN),
            (FindingKind.CALL_MARKER, _ANY_CALL),
            (FindingKind.CALL_OBJECT, _CALL_OBJECT),
            (FindingKind.DELIMITER, _DELIMITER),
        ]
        for kind, literals in (
            (FindingKind.CONTROL_TOKEN, control_tokens),
            (FindingKind.CALL_MARKER, call_markers),
        ):
            pattern = literal_pattern(folded(literal).text for literal in literals)
            if pattern is not None:
                self._patterns.append((kind, pattern))

    def knowing(self, *, call_markers: Collection[str]) -> Self:
        """The same shield, with further call markers."""
        return type(self)(
            control_tokens=self._control_tokens,
            call_markers=self._call_markers | frozenset(call_markers),
            characters=self.characters,
        )

    def clean(self, text: str) -> Cleaned:
        """The text without anything that could act, and what was found."""
        findings = []
        if len(text) > self.characters:
            findings.append(Finding(FindingKind.CUT, self.characters, len(text), ""))
            text = text[: self.characters]
        findings += [
            _finding(FindingKind.ROLE_HEADING, found.start(), found.end(), text)
            for found in _ROLE_HEADING.finditer(text)
        ]
        if not _SUSPICIOUS.search(text) and len(self._patterns) == 4:
            return Cleaned(text, tuple(findings))

        places = list(range(len(text)))
        original = text
        for _ in range(_MOST_PASSES):
            changes = [*_unseen(text), *self._forms(text)]
            if not changes:
                break
            text, places, found = _applied(text, places, changes, original)
            findings += found
        else:
            text = _flattened(text)  # made to come back again and again: no brackets at all
        return Cleaned(text, tuple(sorted(findings, key=lambda finding: (finding.start, finding.end))))

    def _forms(self, text: str) -> Iterator["_Change"]:
        """What looks like a token, a call or a delimiter."""
        look = folded(text)
        for kind, pattern in self._patterns:
            for found in pattern.finditer(look.text):
                group = 0 if found.lastindex is None else found.lastindex
                start, end = found.span(group)
                if start == end:
                    continue
                place, last = look.places[start], look.places[end - 1]
                yield _Change(kind, place, last + 1, _harmless(kind, look.text[start:end]))


class _Change(NamedTuple):
    kind: FindingKind
    start: int
    end: int
    replacement: str


def _unseen(text: str) -> Iterator[_Change]:
    """Characters that act without being seen."""
    for kind, pattern in (
        (FindingKind.CONTROL_CHARACTER, _ESCAPE_SEQUENCE),
        (FindingKind.CONTROL_CHARACTER, _CONTROL),
        (FindingKind.DIRECTION, _DIRECTION),
        (FindingKind.INVISIBLE, _INVISIBLE),
    ):
        for found in pattern.finditer(text):
            yield _Change(kind, found.start(), found.end(), "")


def _applied(
    text: str, places: list[int], changes: Iterable[_Change], original: str
) -> tuple[str, list[int], list[Finding]]:
    """The text with the changes; of those that overlap the first and longest counts, the others wait for a new pass."""
    parts: list[str] = []
    kept: list[int] = []
    findings = []
    done = 0
    for change in sorted(changes, key=lambda change: (change.start, -change.end)):
        if change.start < done:
            continue
        parts += [text[done : change.start], change.replacement]
        kept += places[done : change.start] + [places[change.start]] * len(change.replacement)
        findings.append(_finding(change.kind, places[change.start], places[change.end - 1] + 1, original))
        done = change.end
    return "".join([*parts, text[done:]]), kept + places[done:], findings


def _harmless(kind: FindingKind, found: str) -> str:
    """The same, readable, in a form that nothing reacts to."""
    name = " ".join(_SIGNS.sub(" ", found).split())
    if kind is FindingKind.CONTROL_TOKEN:
        return f"⟨end {name}⟩" if "/" in found and name else f"⟨{name}⟩"
    if kind is FindingKind.CALL_OBJECT:
        return found.replace('"', "′")
    if kind is FindingKind.DELIMITER:
        return f"⟨{name}⟩"
    return f"⟦{name}"


def _flattened(text: str) -> str:
    """Letters, digits and points alone: for what was made to come back after each pass."""
    return re.sub(r"[^\w\s.,;?!()-]|_", " ", text)


def _finding(kind: FindingKind, start: int, end: int, text: str) -> Finding:
    return Finding(kind, start, end, text[start:end].encode("unicode_escape").decode()[:_SHOWN])
