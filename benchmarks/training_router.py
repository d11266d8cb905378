"""Routers and mixtures at equal tokens, operations and seconds, on models of two to five million parameters.

    dense           no experts, spends the operations per token that the mixtures spend
    dense-seconds   the same, for as many steps as take the mixture's time
    switch          the mixture with the auxiliary balance loss
    bias            with a balancing bias instead
    margin          with the large-margin loss and its balanced target

All variants of a seed begin with the same weights wherever shapes agree, and see the same rows in the same order; what
is compared are differences within seeds. The interval is Student's over seeds; the detectable effect is the difference
that a two-sided test at 5% would find in four of five such experiments, given the spread that was seen.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.report import Claim, ResultTable
from benchmarks.training_cells import Cell, Found
from benchmarks.training_experiment import Place, Scope
from benchmarks.training_statistics import Paired, paired
from benchmarks.training_texts import corpora, digest, held_out

__all__ = ["MODEL", "cells", "claims", "run", "tables"]

MODEL: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "num_experts_per_layer": [0, 8, 0, 16],
    "tie_word_embeddings": True,
    "router_gate_mode": "softmax",
    "moe_residual_coef_bias_init": 0.0,
    "rms_norm_eps": 1e-5,
}
"""The mixture: about five million parameters with a vocabulary of 4,096."""
DENSE = MODEL | {"num_experts_per_layer": [0, 0, 0, 0], "intermediate_size": 576}
"""Every second layer of the mixture computes the residual network and one expert, 2 x 384 wide: 4 x 576 is as much."""

_KINDS = {"switch": "switch", "bias": "bias", "margin": "margin"}
_VARIANTS = ("dense", "switch", "bias", "margin")
_FULL = {"seeds": 5, "steps": 150, "rows": 16, "vocabulary": 4096, "held_out_bytes": 240_000, "most_bytes": 1_200_000}
_QUICK = {"seeds": 2, "steps": 6, "rows": 8, "vocabulary": 1024, "held_out_bytes": 20_000, "most_bytes": 150_000}
_LENGTH = 256
_MICRO_ROWS = 8
_RATE = 2e-3
_TAIL = 0.2
_ALL = "all"


def cells(scope: Scope, found: Sequence[Found]) -> list[Cell]:
    """Texts; then the speed of both models and all variants; then the dense model for as many seconds."""
    amount = _QUICK if scope.quick else _FULL
    corpus = Cell(
        experiment="router",
        variant="corpus",
        settings={name: amount[name] for name in ("vocabulary", "most_bytes")} | {"data": scope.data is not None},
        estimate_s=40,
    )
    prepared = _figures(found, "corpus")
    if prepared is None:
        return [corpus]
    settings = {name: amount[name] for name in ("steps", "rows", "vocabulary", "held_out_bytes")}
    settings |= {"texts": prepared["digest"], "folder": prepared["folder"]}
    estimate = 15 + settings["steps"] * settings["rows"] * _LENGTH / 4_500
    speed = Cell(experiment="router", variant="speed", settings=settings | {"steps": 6}, alone=True, estimate_s=60)
    made = [corpus, speed]
    made += [
        Cell(experiment="router", variant=variant, seed=seed, settings=settings, estimate_s=estimate)
        for seed in range(amount["seeds"])
        for variant in _VARIANTS
    ]
    speeds = _figures(found, "speed")
    if speeds is not None:
        longer = settings | {"steps": max(1, round(settings["steps"] * speeds["mixture_per_dense"]))}
        made += [
            Cell(experiment="router", variant="dense-seconds", seed=seed, settings=longer, estimate_s=estimate)
            for seed in range(amount["seeds"])
        ]
    return made


def run(cell: Cell, place: Place) -> dict[str, Any]:
    """Prepare the texts, time both models, or train one variant."""
    if cell.variant == "corpus":
        return _prepare(cell, place)
    if cell.variant == "speed":
        return _speed(cell, place)
    return _train(cell, place, place.folder / "run", cell.variant)


def claims(found: Sequence[Found]) -> list[Claim]:
    """Differences in bits per byte, below 0 where the former is better; the means over seeds."""

    def compared(name: str, first: str, second: str) -> Claim:
        result = _compared(found, first, second)
        return Claim(
            claim=name,
            value=None if result is None else result.mean,
            unit=f"bits per byte, {first} minus {second}, mean of paired seeds",
            bar="reported",
            samples=() if result is None else result.differences,
        )

    return [
        compared("moe_loss_vs_dense_equal_flops", "switch", "dense"),
        compared("moe_loss_vs_dense_equal_seconds", "switch", "dense-seconds"),
        compared("margin_router_vs_switch", "margin", "switch"),
    ]


def tables(found: Sequence[Found]) -> dict[str, ResultTable]:
    """The variants by themselves, and in pairs."""
    own = [variant for variant in (*_VARIANTS, "dense-seconds") if _by_seed(found, variant)]
    if not own:
        return {}
    return {"Routers": _variant_table(found, own), "Routers in pairs": _pair_table(found)}


def _variant_table(found: Sequence[Found], own: Sequence[str]) -> ResultTable:
    sets = sorted({name for variant in own for each in _by_seed(found, variant).values() for name in each["bits"]})
    rows = []
    for variant in own:
        runs = list(_by_seed(found, variant).values())
        means = {key: fmean(run[key] for run in runs) for key in ("steps", "seconds", "total", "active")}
        health: list[float | None] = [
            fmean(run[key] for run in runs) if runs[0][key] is not None else None
            for key in ("max_violation", "dead", "entropy")
        ]
        bits = [fmean(run["bits"][name] for run in runs if name in run["bits"]) for name in sets]
        facts = (len(runs), means["steps"], means["total"] / 1e6, means["active"] / 1e6, means["seconds"])
        rows.append((variant, *facts, *bits, *health))
    columns = ("variant", "seeds", "steps", "million parameters", "active", "s", *sets, "MaxVio", "dead", "entropy")
    note = (
        "Bits per byte of held-out text. MaxVio (largest load of a layer over the mean, minus 1), dead experts and "
        "entropy of the router: means over layers in the last fifth of the steps."
    )
    return ResultTable(columns=columns, rows=tuple(rows), note=note)


def _pair_table(found: Sequence[Found]) -> ResultTable:
    pairs = (
        ("switch", "dense"),
        ("bias", "dense"),
        ("margin", "dense"),
        ("switch", "dense-seconds"),
        ("margin", "dense-seconds"),
        ("bias", "switch"),
        ("margin", "switch"),
        ("margin", "bias"),
    )
    rows = []
    for first, second in pairs:
        result = _compared(found, first, second)
        if result is not None:
            interval = f"{result.low:+.4f} to {result.high:+.4f}"
            rows.append(
                (
                    f"{first} - {second}",
                    len(result.differences),
                    result.mean,
                    interval,
                    result.detectable,
                    result.verdict,
                )
            )
    columns = ("pair", "seeds", "bits per byte", "95% interval", "detectable", "the first is")
    note = "Differences within seeds. A tie is an interval with 0 in it: the difference may be as large as its ends."
    return ResultTable(columns=columns, rows=tuple(rows), note=note)


def _compared(found: Sequence[Found], first: str, second: str) -> Paired | None:
    one, other = _by_seed(found, first), _by_seed(found, second)
    seeds = sorted(one.keys() & other.keys())
    if len(seeds) < 2:
        return None
    return paired([one[seed]["bits"][_ALL] - other[seed]["bits"][_ALL] for seed in seeds])


def _by_seed(found: Sequence[Found], variant: str) -> dict[int, dict[str, Any]]:
    return {each.cell.seed: dict(each.figures) for each in found if each.cell.variant == variant}


def _figures(found: Sequence[Found], variant: str) -> dict[str, Any] | None:
    return next(iter(_by_seed(found, variant).values()), None)


def _prepare(cell: Cell, place: Place) -> dict[str, Any]:
    """Files of training and held-out documents, and the tokenizer."""
    from moesaic.training.tokenizer import TokenizerConfig, train_tokenizer

    training, folder = list[str](), place.folder / "texts"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("train", "held-out"):
        (folder / part).mkdir(parents=True)
    for name, documents in corpora(place.data, cell.settings["most_bytes"]).items():
        kept = [text for text in documents if held_out(text, 0.05)]
        rest = [text for text in documents if not held_out(text, 0.05)]
        for number, text in enumerate(rest):
            (folder / "train" / f"{name}-{number:05}.txt").write_text(text, encoding="utf-8")
        (folder / "held-out" / f"{name}.txt").write_text("\n\n".join(kept), encoding="utf-8")
        training += rest
    size = cell.settings["vocabulary"]
    config = TokenizerConfig(vocab_size=size, character_coverage=0.995)
    report = train_tokenizer(training, folder / "tokenizer", config, overwrite=True)
    total = sum(len(text.encode()) for text in training)
    return {
        "folder": str(folder.resolve()),
        "digest": digest(training),
        "bytes": total,
        "bytes_per_token": report.bytes_per_token,
    }


def _recipe(cell: Cell, start: Path, folder: Path, variant: str) -> Any:
    from moesaic.training.recipe import recipe_of

    texts, settings = Path(cell.settings["folder"]), cell.settings
    sets = {path.stem: str(path) for path in sorted((texts / "held-out").glob("*.txt")) if path.stat().st_size}
    return recipe_of(
        {
            "run": {
                "folder": str(folder),
                "steps": settings["steps"],
                "seed": cell.seed,
                "checkpoint_every": max(1, settings["steps"] // 3),
                "keep_checkpoints": 1,
            },
            "model": {"start": "continue", "base": str(start)},
            "text": {"paths": [str(texts / "train")]},
            "batch": {"rows": settings["rows"], "micro_rows": _MICRO_ROWS, "sequence_length": _LENGTH},
            "optimizer": {"learning_rate": _RATE},
            "schedule": {"kind": "wsd", "warmup_share": 0.05},
            "router": {"kind": _KINDS.get(variant, "switch")},
            "evaluation": {"sets": sets, "max_bytes": max(1, settings["held_out_bytes"] // max(1, len(sets)))},
        }
    )


def _train(cell: Cell, place: Place, folder: Path, variant: str) -> dict[str, Any]:
    import torch

    from moesaic.training.pretraining import pretrain
    from moesaic.training.run_folder import RunFolder

    torch.set_num_threads(place.threads)
    start = folder.with_name(f"{folder.name}-start")
    parameters = _write_start(start, Path(cell.settings["folder"]) / "tokenizer", cell.seed, variant)
    recipe = _recipe(cell, start, folder, variant)
    figures = pretrain(recipe).figures
    lines = [line for line in RunFolder(folder).measured() if "loss" in line]
    tail = lines[-max(1, round(_TAIL * len(lines))) :]
    layers = [layer for line in tail for layer in line.get("experts", ())]
    bits = {name: figures[f"{name}.bits_per_byte"] for name in recipe.evaluation.sets}
    weights = {
        name: min(Path(path).stat().st_size, recipe.evaluation.max_bytes)
        for name, path in recipe.evaluation.sets.items()
    }
    bits[_ALL] = sum(bits[name] * weights[name] for name in weights) / sum(weights.values())
    shutil.rmtree(folder)  # fifty megabytes of checkpoints
    shutil.rmtree(start)
    return parameters | {
        "steps": len(lines),
        "tokens": sum(line["tokens"] for line in lines),
        "seconds": sum(line["seconds"] for line in lines),
        "step_s": [line["seconds"] for line in lines[1:]],
        "bits": bits,
        "losses": [line["loss"] for line in lines[:: max(1, len(lines) // 50)]],
        "max_violation": fmean(layer["max_violation"] for layer in layers) if layers else None,
        "dead": fmean(layer["dead"] for layer in layers) if layers else None,
        "entropy": fmean(layer["entropy"] for layer in layers) if layers else None,
    }


def _write_start(start: Path, tokenizer: Path, seed: int, variant: str) -> dict[str, int]:
    """Initial weights of a seed: those of the mixture, and in the dense model too wherever shapes agree."""
    from moesaic.model.causal_lm import GPTMoEForCausalLM
    from moesaic.model.checkpoint import count_parameters
    from moesaic.model.tokenizer_files import load_tokenizer
    from moesaic.training.model_source import ModelConfig, scratch_config
    from moesaic.training.random_state import seed_everything

    def made(fields: dict[str, Any]) -> Any:
        seed_everything(seed)
        config = scratch_config(ModelConfig(config=fields, tokenizer=tokenizer), load_tokenizer(tokenizer))
        return GPTMoEForCausalLM(config).float()

    model = made(MODEL)
    if variant.startswith("dense"):
        mixture, model = model.state_dict(), made(DENSE)
        own = model.state_dict()
        shared = {name: value for name, value in mixture.items() if name in own and own[name].shape == value.shape}
        model.load_state_dict(own | shared)
    if start.exists():
        shutil.rmtree(start)
    shutil.copytree(tokenizer, start)
    model.save_pretrained(start)
    total, active = count_parameters(model.config)
    return {"total": total, "active": active}


def _speed(cell: Cell, place: Place) -> dict[str, Any]:
    """Seconds of a step of both models, in turn, on one thread as in the other cells."""
    one = Place(folder=place.folder, work=place.work, data=place.data, threads=1)
    seconds: dict[str, list[float]] = {"dense": [], "switch": []}
    for turn in range(3):
        for variant in seconds:
            found = _train(cell, one, place.folder / f"{variant}-{turn}", variant)
            seconds[variant].append(median(found["step_s"]))
    each = [mixture / dense for mixture, dense in zip(seconds["switch"], seconds["dense"], strict=True)]
    return {"step_s": seconds, "mixture_per_dense": round(median(each), 2)}
