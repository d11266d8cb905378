"""`DemoReport`: what the demo found, as JSON, as Markdown, and on the terminal."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from moesaic.artifact import ModelArtifact

if TYPE_CHECKING:
    from moesaic.chains import CitedAnswer

__all__ = ["DemoReport"]


@dataclass(kw_only=True)
class DemoReport:
    """Facts, times and answers of one run."""

    folder: Path
    """Where it is written."""
    knowledge_base: str
    """Name of the base that was asked."""
    model: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds of each step; a step that had nothing to do is not there."""
    speeds: dict[str, float] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    calls: dict[str, Any] = field(default_factory=dict)
    """One constrained and one scoring call."""

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a block to a step."""
        began = time.monotonic()
        yield
        self.timings[step] = self.timings.get(step, 0.0) + time.monotonic() - began

    def describe_model(self, artifact: ModelArtifact, full: ModelArtifact, *, base: str) -> None:
        """Note what is served, and what it was before it was quantized."""
        facts, quantization = artifact.manifest.architecture, artifact.manifest.quantization
        self.model = {
            "name": artifact.manifest.name,
            "base": base,
            "weight_version": artifact.digest,
            "architecture": facts.architecture,
            "experts_per_layer": list(facts.experts_per_layer),
            "parameters_total": facts.parameters_total,
            "parameters_active": facts.parameters_active,
            "quantization": None if quantization is None else quantization.scheme,
            "weights_bytes": _weight_bytes(artifact),
            "weights_bytes_before_quantization": _weight_bytes(full),
            "licence": artifact.manifest.licence.name,
        }

    def add_answer(self, answer: "CitedAnswer", *, seconds: float) -> None:
        """Note an answer; each citation comes with the command that shows its quote."""
        citations = [
            {
                "document": citation.document,
                "start": citation.start,
                "end": citation.end,
                "quote": citation.quote,
                "command": f"moesaic kb text {self.knowledge_base} {citation.document} "
                f"--start {citation.start} --end {citation.end}",
            }
            for citation in answer.citations
        ]
        self.answers.append(
            {
                "question": answer.question,
                "answer": answer.answer,
                "declined": answer.declined,
                "score": round(answer.score, 4),
                "seconds": round(seconds, 3),
                "citations": citations,
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values."""
        return {
            "model": self.model,
            "knowledge_base": self.knowledge_base,
            "timings": {step: round(seconds, 2) for step, seconds in self.timings.items()},
            "speeds": {name: round(value, 3) for name, value in self.speeds.items()},
            "answers": self.answers,
            "calls": self.calls,
        }

    def write(self) -> Path:
        """Write report.json and report.md; the folder is replaced as a whole. Gives the JSON file's path."""
        draft = self.folder.with_name(f".{self.folder.name}.partial")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (draft / "report.json").write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n")
        (draft / "report.md").write_text(self._markdown())
        shutil.rmtree(self.folder, ignore_errors=True)
        draft.rename(self.folder)
        return self.folder / "report.json"

    def show(self, console: Console) -> None:
        """Print sizes, speeds and times, and the answers with what they cite."""
        table = Table(title="Sizes, speeds, times", title_justify="left", title_style="bold")
        table.add_column("what")
        table.add_column("measured", justify="right")
        for name, value in self._figures():
            table.add_row(name, value)
        console.print(table)
        answers = Table(title="Answers", title_justify="left", title_style="bold", show_lines=True)
        for column in ("question", "answer", "cites"):
            answers.add_column(column, overflow="fold")
        for answer in self.answers:
            cited = "\n".join(f"{each['document']} {each['start']}–{each['end']}" for each in answer["citations"])
            answers.add_row(answer["question"], answer["answer"], cited or "declined")
        console.print(answers)

    def _figures(self) -> list[tuple[str, str]]:
        sizes = [
            ("weights, bf16", f"{self.model['weights_bytes_before_quantization'] / 1e6:.0f} MB"),
            (f"weights, {self.model['quantization']}", f"{self.model['weights_bytes'] / 1e6:.0f} MB"),
            ("parameters", f"{self.model['parameters_total'] / 1e6:.0f} million"),
            ("of which a token uses", f"{self.model['parameters_active'] / 1e6:.0f} million"),
        ]
        speeds = [(name, f"{value:.3g}") for name, value in self.speeds.items()]
        times = [(f"{step}, s", f"{seconds:.1f}") for step, seconds in self.timings.items()]
        return sizes + speeds + times

    def _markdown(self) -> str:
        lines = [
            "# Demo report",
            "",
            f"Model `{self.model['name']}`, made of `{self.model['base']}`, served by vLLM.",
            "",
        ]
        lines += ["| what | measured |", "|---|---|", *(f"| {name} | {value} |" for name, value in self._figures()), ""]
        for answer in self.answers:
            lines += [f"## {answer['question']}", "", answer["answer"], ""]
            for each in answer["citations"]:
                quote = " ".join(each["quote"].split())
                lines += [
                    f"- `{each['document']}` {each['start']}–{each['end']}: “{quote}”",
                    f"  (`{each['command']}`)",
                ]
            lines += [f"Answered in {answer['seconds']:.1f} s, score {answer['score']:.2f}.", ""]
        lines += ["## Calls", "", "```json", json.dumps(self.calls, indent=2, ensure_ascii=False), "```", ""]
        return "\n".join(lines)


def _weight_bytes(artifact: ModelArtifact) -> int:
    return sum(record.bytes for record in artifact.manifest.files if record.name.endswith(".safetensors"))
