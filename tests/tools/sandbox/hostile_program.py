"""The hostile programs: one file each, whose docstring says what it tries and what must come of it.

    Class: network                the kind of attack
    Must: no-network              what it must not achieve, in the words of `MUSTS`
    Status: ok, error             how its run may end; `refused`: an InputError before it begins
    Value: []                     what it may answer if it ends well: JSON, `at most NUMBER`, or `anything`
    Timeout: 1                    limits of the run, where they are not the usual ones: seconds,
    Memory: 128                   MiB,
    Output: 4096                  bytes
    Files: yes                    it is given a file, and so a folder to write to, where the tier has such
    Times: 3                      it is run so often, one run after another
    At once: 4                    it is run so often, all at the same time

`Status in TIER`, `Value in TIER` and `Timeout in TIER` hold for one tier. A program finds what it attacks through names
such as `@PORT@`, which are replaced before it is run; what no source file may hold (null characters, halves of
characters) likewise.
"""

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.tools.sandbox import ExecutionStatus

__all__ = ["FOLDER", "MUSTS", "USUAL_TIMEOUT_S", "HostileProgram", "hostile_programs"]

FOLDER = Path(__file__).with_name("hostile")

USUAL_TIMEOUT_S = 60.0
"""Long, so that a program which ends by itself does so on a busy machine too."""

MUSTS = {
    "bounded": "the run ends at its limit, whatever the program does",
    "contained": "no attempt succeeds, as its answer tells",
    "no-core": "no core dump is written",
    "no-host-file": "no file of the host is read, made, changed or seen",
    "no-host-name": "the machine's name is not told",
    "no-ipc": "nothing is left in, or read from, memory and queues that processes share",
    "no-network": "no packet or connection reaches anything",
    "no-process": "no process is started or lives on",
    "no-secret": "no secret of the host is told",
    "no-signal": "no process of the host is signalled, stopped or changed",
    "plain": "what is reported is plain data and well-formed text within its limits",
}
"""What programs must not achieve. All of it is looked for with every program."""

_STATUSES = frozenset({*ExecutionStatus, "refused"})
_KEYS = frozenset({"Class", "Must", "Status", "Value", "Timeout", "Memory", "Output", "Files", "Times", "At once"})
_LINE = re.compile(r"^(?P<key>[A-Z][a-z]+(?: once)?(?: in [a-z]+)?): (?P<value>.+)$", re.MULTILINE)
_UNSOURCED = {
    "# @BOM@": "\ufeff#",
    "@NUL@": "\0",
    "@LINE@": "\n",
    "@SURROGATE@": "\ud800",
    "@COOKIE@": "-*- coding: utf-7 -*-",
    "@PADDING@": "x" * (4 << 20),
}


@dataclass(frozen=True)
class HostileProgram:
    """A program and what is expected of it."""

    name: str
    text: str
    fields: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "HostileProgram":
        """Read one; ValueError if its docstring is not of the form above."""
        text = path.read_text(encoding="utf-8")
        docstring = ast.get_docstring(ast.parse(text)) or ""
        fields = {found["key"]: found["value"].strip() for found in _LINE.finditer(docstring)}
        program = cls(path.stem, text, fields)
        program._check()
        return program

    def _check(self) -> None:
        unknown = {key.partition(" in ")[0] for key in self.fields} - _KEYS
        if missing := {"Class", "Must", "Status"} - set(self.fields):
            raise ValueError(f"{self.name}: its docstring lacks {', '.join(sorted(missing))}")

        unknown |= set(self.musts) - set(MUSTS) | self.statuses("") - _STATUSES
        if unknown:
            raise ValueError(f"{self.name}: its docstring says {', '.join(sorted(unknown))}, which nothing knows")

    @property
    def number(self) -> str:
        """What its marks carry, to tell whose they are."""
        return self.name.partition("_")[0]

    @property
    def musts(self) -> tuple[str, ...]:
        """What it must not achieve, above all."""
        return tuple(self.fields["Must"].split(", "))

    def statuses(self, tier: str) -> frozenset[str]:
        """How a run may end. Monty lacks most of what these programs need: an error is as good there as a refusal."""
        named = self.fields.get(f"Status in {tier}", self.fields["Status"])
        return frozenset(named.split(", ")) | ({"error"} if tier == "monty" else set())

    def admits(self, value: Any, tier: str) -> bool:
        """Whether a run that ended well may have answered this."""
        expected = self.fields.get(f"Value in {tier}", self.fields.get("Value", "anything"))
        if expected == "anything":
            return True
        if expected.startswith("at most "):
            return isinstance(value, int | float) and value <= float(expected.removeprefix("at most "))
        return bool(value == json.loads(expected))

    def limit(self, key: str, tier: str = "") -> float | None:
        """A limit in its unit, or None for the usual one."""
        given = self.fields.get(f"{key} in {tier}", self.fields.get(key))
        return None if given is None else float(given)

    def filled(self, names: Mapping[str, str]) -> str:
        """The text to run."""
        text = self.text
        for name, value in {**{f"@{name}@": value for name, value in names.items()}, **_UNSOURCED}.items():
            text = text.replace(name, value)
        return text


def hostile_programs() -> list[HostileProgram]:
    """All of them, in the order of their numbers."""
    return [HostileProgram.read(path) for path in sorted(FOLDER.glob("*.py"))]
