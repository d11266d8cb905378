"""Selection by importance (DSIR) on a planted domain: what it finds of it, and how near to the domain it comes.

Each corpus in turn is the domain. A tenth of the raw documents is of it, hidden among those of the other corpora; other
documents of it are the target. The distance is measured here, over words and Chinese characters, to documents of the
domain that the selection never saw, against random selections of as many documents.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope
from benchmarks.training_texts import corpora, units

__all__ = ["cells", "claims", "divergence", "run", "tables"]

_SEEDS = 3
_SHARE = 0.1
_MOST_PLANTED = 150
_DRAWS = 5
_SMOOTHING = 0.5


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """One cell for every seed; each tries all domains."""
    settings = {"most_planted": 40 if scope.quick else _MOST_PLANTED, "data": scope.data is not None}
    seeds = 1 if scope.quick else _SEEDS
    return [
        Cell(experiment="dsir", variant="planted", seed=seed, settings=settings, estimate_s=30) for seed in range(seeds)
    ]


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Hide each domain among the others, and select."""
    found = corpora(place.data)
    return {"domains": {name: _hidden(name, found, cell) for name in found}}


def divergence(target: Iterable[str], other: Iterable[str]) -> float:
    """KL(target || other) in nats, over units, the counts of both smoothed by half a count each."""
    wanted, given = Counter(target), Counter(other)
    kinds = wanted.keys() | given.keys()
    wanted_total = sum(wanted.values()) + _SMOOTHING * len(kinds)
    given_total = sum(given.values()) + _SMOOTHING * len(kinds)
    return math.fsum(
        (p := (wanted[kind] + _SMOOTHING) / wanted_total) * math.log(p * given_total / (given[kind] + _SMOOTHING))
        for kind in kinds
    )


def claims(found: Sequence[Found]) -> list[Claim]:
    """The smallest reduction of all domains and seeds: none may be worse than chance."""
    samples = tuple(
        domain["kl_random"] - domain["kl_selected"] for each in found for domain in each.figures["domains"].values()
    )
    return [
        Claim(
            claim="dsir_kl_reduction_vs_random",
            value=min(samples, default=None),
            unit="nats, the least of all domains and seeds",
            bar="> 0",
            samples=samples,
        )
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """Every domain, means over seeds."""
    if not found:
        return {}
    rows = []
    for name in found[0].figures["domains"]:
        domains = [each.figures["domains"][name] for each in found if name in each.figures["domains"]]
        means = {key: fmean(domain[key] for domain in domains) for key in domains[0]}
        rows.append(
            (
                name,
                means["raw"],
                means["planted"],
                means["recall"],
                means["planted"] / means["raw"],
                means["kl_random"],
                means["kl_selected"],
            )
        )
    columns = ("domain", "raw documents", "of the domain", "found", "found by chance", "KL, random", "KL, selected")
    note = "As many documents are selected as were planted. KL of unseen documents of the domain from them, in nats."
    return {"Planted domains": ResultTable(columns=columns, rows=tuple(rows), note=note)}


def _hidden(name: str, found: dict[str, list[str]], cell: Cell) -> dict[str, float]:
    from moesaic.training.data.importance_selection import SelectOptions, select_by_importance

    chooser = random.Random(f"{name}/{cell.seed}")
    own = chooser.sample(found[name], len(found[name]))
    planted = own[: min(cell.settings["most_planted"], len(own) // 3)]
    target, unseen = own[len(planted) :: 2], own[len(planted) + 1 :: 2]
    strangers = [text for other, texts in found.items() if other != name for text in texts]
    strangers = chooser.sample(strangers, min(len(strangers), round(len(planted) * (1 / _SHARE - 1))))
    raw = planted + strangers
    size = len(planted)
    order = chooser.sample(range(len(raw)), len(raw))
    raw = [raw[place] for place in order]
    selection = select_by_importance(raw, target, SelectOptions(keep=size / len(raw), seed=cell.seed))
    wanted = [unit for text in unseen for unit in units(text)]

    def distance(numbers: Iterable[int]) -> float:
        return divergence(wanted, (unit for number in numbers for unit in units(raw[number])))

    draws = [chooser.sample(range(len(raw)), size) for _ in range(_DRAWS)]
    return {
        "raw": len(raw),
        "planted": size,
        "recall": sum(order[number] < size for number in selection.chosen) / size,
        "kl_selected": distance(selection.chosen),
        "kl_random": fmean(distance(draw) for draw in draws),
    }
