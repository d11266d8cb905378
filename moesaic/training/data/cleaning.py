"""Cleaning: texts into their normal form, boilerplate lines out, and out with texts that break a rule.

Every rule is tried on every text, so that the report says of each how often it was broken, how often it was the only
one, and shows the first texts that broke it: what a limit costs can be judged before it is believed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from moesaic.errors import RecipeError
from moesaic.training.data.cleaning_rules import RULES, Rule
from moesaic.training.data.normal_form import normal_form
from moesaic.training.data.text_document import TextDocument
from moesaic.training.data.text_facts import TextFacts

__all__ = ["CleanOptions", "CleanReport", "RuleReport", "cleaned"]

_LANGUAGES = ("en", "zh", "other")
_EXAMPLES = 3
_EXCERPT = 160
_LONGEST_BOILERPLATE = 120
_BOILERPLATE = re.compile(
    r"lorem ipsum|cookie policy|use of cookies|uses cookies|terms of (?:use|service)|privacy policy|all rights reserved"
    r"|enable javascript|javascript is (?:disabled|required)|subscribe to our newsletter|click here to"
    r"|版权所有|未经.{0,8}(?:许可|授权|同意).{0,4}(?:不得|禁止|严禁|请勿)转载|转载请注明|扫描(?:下方|上方)?二维码"
    r"|关注.{0,8}公众号|点击(?:这里|此处)|(?:免责声明|责任编辑|上一篇|下一篇)[:：]|返回顶部",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """Which texts are cleaned, and which rules hold."""

    languages: tuple[str, ...] = ("en", "zh")
    """Languages that stay: en, zh, or other, for which only normal form and boilerplate matter."""
    disabled: tuple[str, ...] = ()
    """Names of rules that do not hold."""
    limits: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Other limits by name of rule: the least and the most allowed value, None (false in a recipe) for no limit."""
    boilerplate: bool = True
    """Whether short lines with phrases such as "cookie policy" or 版权所有 are left out."""

    def __post_init__(self) -> None:
        """Refuse names that do not exist and ranges that are empty."""
        _known("languages", self.languages, _LANGUAGES)
        names = tuple(dict.fromkeys(rule.name for rule in RULES))
        _known("disabled", self.disabled, names)
        _known("limits", tuple(self.limits), names)
        if not self.languages:
            raise RecipeError("languages=() leaves no text: name en, zh or other")

        for name, limits in self.limits.items():
            if len(limits) != 2 or not _bound(limits[0], float("-inf")) <= _bound(limits[1], float("inf")):
                raise RecipeError(f"limits.{name}={limits!r} must be [least, most], with least not above most")

    def rules(self) -> tuple[Rule, ...]:
        """The rules that hold, with their limits."""
        return tuple(self._limited(rule) for rule in RULES if rule.name not in self.disabled)

    def _limited(self, rule: Rule) -> Rule:
        if rule.name not in self.limits:
            return rule

        least, most = self.limits[rule.name]
        return replace(rule, least=_bound(least, float("-inf")), most=_bound(most, float("inf")))


@dataclass(kw_only=True)
class RuleReport:
    """How often a rule was broken."""

    removed: int = 0
    """Texts that broke it."""
    alone: int = 0
    """Texts that broke no other."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first of them: id, value of the measure, and how the text begins."""

    def add(self, document: TextDocument, value: Any, *, alone: bool, excerpt: str | None = None) -> None:
        """Count a text."""
        self.removed += 1
        self.alone += alone
        if len(self.examples) < _EXAMPLES:
            text = document.text if excerpt is None else excerpt
            self.examples.append({"id": document.id, "value": value, "text": text[:_EXCERPT]})


@dataclass(kw_only=True)
class CleanReport:
    """What cleaning did; filled while the texts are read."""

    documents: int = 0
    kept: int = 0
    characters: int = 0
    kept_characters: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    broken_documents: int = 0
    broken_places: int = 0
    rules: dict[str, RuleReport] = field(default_factory=dict)

    def rule(self, name: str) -> RuleReport:
        """The report of a rule."""
        return self.rules.setdefault(name, RuleReport())

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values, rules that removed most first."""
        ordered = sorted(self.rules.items(), key=lambda item: -item[1].removed)
        return vars(self) | {"rules": {name: vars(rule) for name, rule in ordered}}


def cleaned(documents: Iterable[TextDocument], options: CleanOptions, report: CleanReport) -> Iterator[TextDocument]:
    """The texts that stay, in normal form and without boilerplate lines. `report` is filled on the way."""
    rules = options.rules()
    for document in documents:
        report.documents += 1
        report.characters += len(document.text)
        report.broken_documents += document.broken > 0
        report.broken_places += document.broken
        text = normal_form(document.text)
        if options.boilerplate:
            text = _without_boilerplate(document, text, report)
        facts = TextFacts(text)
        report.languages[facts.language] = report.languages.get(facts.language, 0) + 1
        if _broken(document, facts, rules, options, report):
            continue

        report.kept += 1
        report.kept_characters += len(text)
        yield replace(document, text=text)


def _without_boilerplate(document: TextDocument, text: str, report: CleanReport) -> str:
    if not _BOILERPLATE.search(text):
        return text

    kept: list[str] = []
    left_out: list[str] = []
    for line in text.split("\n"):
        boilerplate = len(line) <= _LONGEST_BOILERPLATE and _BOILERPLATE.search(line)
        (left_out if boilerplate else kept).append(line)
    if left_out:
        report.rule("boilerplate_lines").add(document, len(left_out), alone=False, excerpt="\n".join(left_out))
    return normal_form("\n".join(kept))


def _broken(
    document: TextDocument, facts: TextFacts, rules: tuple[Rule, ...], options: CleanOptions, report: CleanReport
) -> bool:
    """Whether the text goes; each rule that it breaks is counted."""
    if not facts.text:
        report.rule("empty").add(document, 0, alone=True)
        return True

    if facts.language not in options.languages:
        report.rule("language").add(document, facts.language, alone=True)
        return True

    values = [(rule, rule.measure(facts)) for rule in rules if facts.language in rule.languages]
    broken = [(rule, value) for rule, value in values if not rule.allows(value)]
    for rule, value in broken:
        report.rule(rule.name).add(document, round(value, 4), alone=len(broken) == 1)
    return bool(broken)


def _known(field_name: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        raise RecipeError(f"{field_name}={given!r}: {unknown[0]!r} is unknown; known are {', '.join(known)}")


def _bound(given: float | None, missing: float) -> float:
    return missing if given is None else float(given)
