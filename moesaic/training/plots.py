"""Plots of a run, as PNG files, out of its metrics alone: at the end, on demand, or from another process meanwhile."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moesaic.errors import MissingDependencyError
from moesaic.training.data.durable import made_folder, storage_errors

__all__ = ["draw_plots"]

_SIZE_INCHES = (8.0, 4.5)


def draw_plots(lines: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw loss, schedule and gradient norm, speed, and the health of the experts; returns the files.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        StorageError: the folder cannot be written.
    """
    steps = [line for line in lines if "loss" in line]
    evaluations = [line for line in lines if "evaluation" in line]
    if not steps:
        return []
    panels = {
        "loss": lambda axes: _loss(axes, steps, evaluations),
        "gradient_norm": lambda axes: _gradient(axes, steps),
        "learning_rate": lambda axes: _series(axes, steps, "learning_rate", "learning rate"),
        "speed": lambda axes: _series(axes, steps, "tokens_per_s", "tokens per second"),
    }
    if any("experts" in line for line in steps):
        panels |= {
            "max_violation": lambda axes: _experts(axes, steps, "max_violation", "MaxVio"),
            "router_entropy": lambda axes: _experts(axes, steps, "entropy", "router entropy (nats)"),
            "dead_experts": lambda axes: _experts(axes, steps, "dead", "dead experts"),
            "expert_load": lambda axes: _loads(axes, steps),
        }
    made_folder(folder)
    return [_drawn(folder / f"{name}.png", draw) for name, draw in panels.items()]


def _drawn(path: Path, draw: Any) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"plots need matplotlib, which is not installed ({error}): pip install 'moesaic[train]', and give the same "
            "command again, which trains nothing twice"
        ) from error
    figure = Figure(figsize=_SIZE_INCHES)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    draw(axes)
    partial = path.with_name(f".{path.stem}.partial.png")
    with storage_errors(path):
        figure.savefig(partial, dpi=120)
        os.replace(partial, path)
    return path


def _loss(axes: Any, steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]]) -> None:
    known = "bits_per_byte" if all("bits_per_byte" in line for line in steps) else "loss"
    _series(axes, steps, known, "bits per byte" if known == "bits_per_byte" else "loss (nats per token)", label="train")
    for name in sorted({name for line in evaluations for name in line["evaluation"] if name.endswith("." + known)}):
        points = [(line["step"], line["evaluation"][name]) for line in evaluations if name in line["evaluation"]]
        axes.plot(*zip(*points, strict=True), marker="o", label=name.removesuffix("." + known))
    axes.legend()


def _gradient(axes: Any, steps: Sequence[Mapping[str, Any]]) -> None:
    _series(axes, steps, "gradient_norm", "gradient norm")
    axes.set_yscale("log")
    skipped = [line["step"] for line in steps if line.get("skipped")]
    for step in skipped:
        axes.axvline(step, color="tab:red", alpha=0.4)


def _series(axes: Any, steps: Sequence[Mapping[str, Any]], key: str, label_y: str, label: str | None = None) -> None:
    points = [(line["step"], line[key]) for line in steps if line.get(key) is not None]
    axes.plot([step for step, _ in points], [value for _, value in points], linewidth=1.0, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel(label_y)


def _experts(axes: Any, steps: Sequence[Mapping[str, Any]], key: str, label_y: str) -> None:
    measured = [line for line in steps if "experts" in line]
    for layer in range(len(measured[0]["experts"])):
        values = [line["experts"][layer][key] for line in measured]
        axes.plot([line["step"] for line in measured], values, linewidth=1.0, label=f"mixture {layer}")
    axes.set_xlabel("step")
    axes.set_ylabel(label_y)
    axes.legend(fontsize="small")


def _loads(axes: Any, steps: Sequence[Mapping[str, Any]]) -> None:
    """Load of every expert in the last measured step, as multiples of an even load."""
    last = next(line for line in reversed(steps) if "experts" in line)
    for layer, health in enumerate(last["experts"]):
        load = health["load"]
        positions = [layer + 0.8 * (expert + 0.5) / len(load) - 0.4 for expert in range(len(load))]
        axes.bar(positions, [share * len(load) for share in load], width=0.8 / len(load))
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("mixture")
    axes.set_ylabel(f"load at step {last['step']} (1 = even)")
