"""Deduplication on planted near-duplicates: what is found of those at Jaccard >= 0.85, and what is wrongly removed.

Copies of documents are changed by replaced words, by a passage that is cut, or by one that is put in, until their
similarity (over runs of five words, of Chinese five characters, counted here and not by the code that is measured)
lies where it is wanted. Each document has one copy at most; half of the pairs are to be found, half to be left alone.
Only documents that no other is anything like get copies: texts repeat themselves by nature, which would blur both.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope
from benchmarks.training_texts import corpora, units

__all__ = ["Planted", "cells", "claims", "judge", "plant", "run", "similarity", "tables"]

ALIKE, UNLIKE = (0.85, 0.995), (0.2, 0.5)
"""Similarities that are planted; what lies between is neither to be found nor to be left."""
_SEEDS = 5
_PAIRS = 200
_LEAST_UNITS = 80
_SHINGLE = 5
_ATTEMPTS = 40
_STRANGE = 0.25
_REVISION = 2
"""Raised when the same settings come to mean another measurement: former results then count no more."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A document and its changed copy, by their numbers."""

    original: int
    copy: int
    similarity: float
    corpus: str
    edit: str

    @property
    def alike(self) -> bool:
        """Whether it is to be found."""
        return self.similarity >= ALIKE[0]


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """One cell for every seed."""
    settings = {"pairs": 40 if scope.quick else _PAIRS, "data": scope.data is not None, "revision": _REVISION}
    seeds = 1 if scope.quick else _SEEDS
    return [
        Cell(experiment="dedup", variant="planted", seed=seed, settings=settings, estimate_s=20)
        for seed in range(seeds)
    ]


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Plant pairs in every corpus, and deduplicate all documents together."""
    from moesaic.training.data.near_duplicates import DedupOptions, find_near_duplicates

    options = DedupOptions()
    texts, planted = list[str](), list[Planted]()
    for name, documents in corpora(place.data).items():
        texts, planted = plant(name, documents, texts, planted, cell.settings["pairs"], cell.seed)
    removed = find_near_duplicates(texts, options).kept_by
    figures = judge(planted, removed)
    pairs = {number for pair in planted for number in (pair.original, pair.copy)}
    others = {number: kept for number, kept in removed.items() if number not in pairs and kept not in pairs}
    wrong = [n for n, kept in others.items() if similarity(texts[n], texts[kept]) < options.threshold - 0.05]
    return figures | {"documents": len(texts), "removed_others": len(others), "removed_others_unlike": len(wrong)}


def plant(
    name: str, documents: Sequence[str], texts: list[str], planted: list[Planted], pairs: int, seed: int
) -> tuple[list[str], list[Planted]]:
    """Add a corpus to `texts`, with up to `pairs` copies to find and as many to leave alone, in random places."""
    chooser = random.Random(f"{name}/{seed}")
    texts, planted = list(texts), list(planted)
    first = len(texts)
    texts += documents
    lonely = _lonely(texts)
    long = [n for n in range(first, len(texts)) if n in lonely and len(units(texts[n])) >= _LEAST_UNITS]
    chooser.shuffle(long)
    for place, number in enumerate(long[: 2 * pairs]):
        wanted = ALIKE if place % 2 == 0 else UNLIKE
        other = texts[chooser.randrange(first, first + len(documents))]
        # Some texts cannot be changed in some ways: then in the next one.
        for turn in range(len(_EDITS)):
            edit = list(_EDITS)[(place // 2 + turn) % len(_EDITS)]
            copy = _changed(texts[number], edit, wanted, chooser, other)
            if copy is not None:
                alike = similarity(texts[number], copy)
                planted.append(Planted(original=number, copy=len(texts), similarity=alike, corpus=name, edit=edit))
                texts.append(copy)
                break
    return texts, planted


def similarity(first: str, second: str) -> float:
    """Jaccard similarity of the sets of runs of five units."""
    one, other = _shingles(first), _shingles(second)
    return len(one & other) / len(one | other) if one or other else 0.0


def judge(planted: Sequence[Planted], removed: Mapping[int, int]) -> dict[str, Any]:
    """Which pairs were found; an alike pair is found if one of it was removed for the sake of the other."""
    counts: Counter[str] = Counter()
    for pair in planted:
        joined = removed.get(pair.copy) == pair.original or removed.get(pair.original) == pair.copy
        hit = joined if pair.alike else pair.original in removed or pair.copy in removed
        kind = "alike" if pair.alike else "unlike"
        for key in (kind, f"{kind}, {pair.corpus}", f"{kind}, {pair.edit}"):
            counts[key] += 1
            counts[f"{key}, hit"] += hit
    return {"counts": dict(counts)}


def claims(found: Sequence[Found]) -> list[Claim]:
    """Recall and false removals over all pairs of all seeds."""

    def shares(kind: str) -> tuple[float | None, tuple[float, ...]]:
        counts = [each.figures["counts"] for each in found]
        total = sum(each.get(kind, 0) for each in counts)
        hits = sum(each.get(f"{kind}, hit", 0) for each in counts)
        own = tuple(each[f"{kind}, hit"] / each[kind] for each in counts if each.get(kind))
        return (hits / total if total else None), own

    recall, recalls = shares("alike")
    false, falses = shares("unlike")
    return [
        Claim(
            claim="dedup_recall",
            value=recall,
            unit="planted near-duplicates at Jaccard >= 0.85",
            bar=">= 0.95",
            samples=recalls,
        ),
        Claim(claim="dedup_false", value=false, unit="share at Jaccard <= 0.5", bar="<= 0.01", samples=falses),
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """By corpus, and by how copies were changed."""
    totals: Counter[str] = Counter()
    for each in found:
        totals.update(each.figures["counts"])
    kinds = sorted({key.partition(", ")[2] for key in totals if key.count(", ") == 1 and not key.endswith(", hit")})
    rows = []
    for kind in kinds:
        row: list[str | float | None] = [kind]
        for wanted in ("alike", "unlike"):
            total = totals[f"{wanted}, {kind}"]
            row += [total, totals[f"{wanted}, {kind}, hit"] / total if total else None]
        rows.append(tuple(row))
    if not rows:
        return {}
    others = f"{fmean(each.figures['removed_others'] for each in found):.0f} documents that nothing was planted for"
    unlike = sum(each.figures["removed_others_unlike"] for each in found)
    columns = ("pairs", "Jaccard >= 0.85", "found", "Jaccard <= 0.5", "wrongly removed")
    note = f"{others} were removed too, per seed; {unlike} of them are less alike than the threshold."
    return {"Planted near-duplicates": ResultTable(columns=columns, rows=tuple(rows), note=note)}


def _lonely(texts: Sequence[str]) -> set[int]:
    """Documents that share fewer than a quarter of their runs with any other: every pair is compared."""
    holders: dict[tuple[str, ...], list[int]] = {}
    own = [_shingles(text) for text in texts]
    for number, found in enumerate(own):
        for shingle in found:
            holders.setdefault(shingle, []).append(number)
    shared: list[Counter[int]] = [Counter() for _ in texts]
    for numbers in holders.values():
        if len(numbers) > 1:
            for number in numbers:
                shared[number].update(numbers)
    return {
        number
        for number, counts in enumerate(shared)
        if max((count for other, count in counts.items() if other != number), default=0) < _STRANGE * len(own[number])
    }


def _shingles(text: str) -> set[tuple[str, ...]]:
    found = units(text)
    return {tuple(found[start : start + _SHINGLE]) for start in range(len(found) - _SHINGLE + 1)}


def _changed(text: str, edit: str, wanted: tuple[float, float], chooser: random.Random, other: str) -> str | None:
    """A copy as similar as wanted; None if no attempt gave one."""
    low, high = wanted
    for _ in range(_ATTEMPTS):
        target = chooser.uniform(low, high)
        copy = _EDITS[edit](text, target, chooser, other)
        if low <= similarity(text, copy) <= high and copy != text:
            return copy
    return None


def _replaced(text: str, target: float, chooser: random.Random, other: str) -> str:
    """Words replaced here and there: each of them breaks up to five runs."""
    parts = text.split(" ") if " " in text.strip() else list(text)
    count = max(1, round(len(units(text)) * (1 - target) / (_SHINGLE * (1 + target))))
    strange = units(other) or ["x"]
    for place in chooser.sample(range(len(parts)), min(count, len(parts))):
        parts[place] = chooser.choice(strange)
    return (" " if " " in text.strip() else "").join(parts)


def _without_passage(text: str, target: float, chooser: random.Random, other: str) -> str:
    length = max(1, round(len(text) * (1 - target)))
    start = chooser.randrange(max(1, len(text) - length))
    return text[:start] + text[start + length :]


def _with_passage(text: str, target: float, chooser: random.Random, other: str) -> str:
    wanted = max(1, round(len(text) * (1 / target - 1)))
    passage = (other * (wanted // max(1, len(other)) + 1))[::-1][:wanted]  # backwards: found nowhere else
    start = chooser.randrange(len(text))
    return text[:start] + passage + text[start:]


_EDITS: Mapping[str, Callable[[str, float, random.Random, str], str]] = {
    "words": _replaced,
    "cut": _without_passage,
    "insert": _with_passage,
}
