"""How `moesaic data` shows what its stages did."""

from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["print_composition", "print_stages"]

_SHOWN_EXAMPLES = 1
_SHOWN_CHARACTERS = 70


def print_stages(found: dict[str, Any]) -> None:
    """Documents of every stage, and what each says for itself."""
    table = Table(title="Stages", title_justify="left")
    for column in ("stage", "documents", "characters", "removed"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in found["stages"].items():
        if "documents" not in stage:
            continue

        before, after = sum(stage["before"].values()), sum(stage["documents"].values())
        removed = str(before - after) if before else ""
        table.add_row(name, f"{after:,}", f"{sum(stage['characters'].values()):,}", removed)
    Console().print(table)
    for name, stage in found["stages"].items():
        details = stage.get("details", {})
        if name == "2-clean" and details["rules"]:
            _print_rules(details["rules"])
        elif name in _SUMMARIES:
            typer.echo(f"{name}: {_SUMMARIES[name](details)}")


def _dedup_summary(details: dict[str, Any]) -> str:
    near = details["near"]
    return (
        f"{details['exact']['removed']} exact copies, {near['removed']} near-duplicates of {near['clusters']} texts "
        f"({near['unlike']} of {near['compared']} candidates were not alike)"
    )


def _selection_summary(details: dict[str, Any]) -> str:
    nearer = details["kl_reduction_against_random"]
    return f"{details['selected']} of {details['raw']} texts, {nearer:.4f} nats nearer to the target than random ones"


_SUMMARIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "3-dedup": _dedup_summary,
    "4-decontaminate": lambda details: f"{details['removed']} texts share a run with an evaluation text",
    "5-mask": lambda details: ", ".join(f"{count} {kind}" for kind, count in details["masked"].items()),
    "6-quality": lambda details: (
        f"{details['removed']} of {details['scored']} texts removed, held-out AUC {details['held_out']['auc']:.3f}"
    ),
    "7-select": _selection_summary,
}
"""What to say of a stage besides its numbers of documents."""


def _print_rules(rules: dict[str, Any]) -> None:
    table = Table(title="Rules of cleaning", title_justify="left")
    for column in ("rule", "texts", "only this", "for example"):
        table.add_column(column, justify="right" if column in ("texts", "only this") else "left", overflow="fold")
    for name, rule in rules.items():
        examples = [_shown(example) for example in rule["examples"][:_SHOWN_EXAMPLES]]
        table.add_row(name, str(rule["removed"]), str(rule["alone"]), "; ".join(examples))
    Console().print(table, markup=False)


def _shown(example: dict[str, Any]) -> str:
    text = " ".join(example["text"].split())[:_SHOWN_CHARACTERS]
    return f"{example['id']} ({example['value']}): {text}".replace("[", r"\[")


def print_composition(numbers: dict[str, Any]) -> None:
    """Sizes, languages and diversity of every corpus."""
    table = Table(title="Composition", title_justify="left")
    getters: dict[str, Callable[[dict[str, Any]], str]] = {
        "documents": lambda part: f"{part['documents']:,}",
        "characters": lambda part: f"{part['characters']:,}",
        "languages": lambda part: ", ".join(f"{name} {count}" for name, count in part["languages"].items()),
        "distinct 1/2/3-grams": lambda part: " / ".join(f"{value:.3f}" for value in part["distinct"].values()),
        "entropy, bits": lambda part: f"{part['unigram_entropy_bits']:.2f}",
        "compression": lambda part: f"{part['compression_ratio']:.2f}",
    }
    for column in ("corpus", *getters):
        table.add_column(column)
    for name, part in [*numbers["corpora"].items(), ("all", numbers["all"])]:
        table.add_row(name, *(getter(part) for getter in getters.values()))
    Console().print(table)
