"""`moesaic generate`: text from an artifact, through the engine that would serve it."""

import asyncio
import json
import time
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from moesaic.artifact import ModelArtifact
from moesaic.errors import InputError, RequestError

if TYPE_CHECKING:
    from moesaic.server.engine import Engine, GenerateRequest

__all__ = ["generate"]


def generate(
    prompt: Annotated[str, typer.Argument(help="What to say to the model.")],
    model: Annotated[Path, typer.Option(help="Folder of the artifact.")],
    max_tokens: Annotated[int, typer.Option(help="Most tokens to generate.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token, 1 draws from the model.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Draw from the smallest set of tokens with this probability.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Makes drawing reproducible.")] = None,
    system: Annotated[str | None, typer.Option(help="Instruction that precedes the prompt.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is, without the chat template.")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, vllm, or transformers (slow reference).")] = "auto",
    experts: Annotated[str, typer.Option(help="auto, or bf16 to serve a bf16 copy of a quantized artifact.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Type of activations: auto, bfloat16 or float32.")] = "auto",
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the model; the first start takes minutes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
) -> None:
    """Answer one prompt, streaming, after the artifact's canary was replayed through the engine.

    Example: moesaic generate --model build/moe-int8 "What is the capital of France?"
    """
    from moesaic.cli.engines import chosen_engine
    from moesaic.server.engine import VllmSettings

    artifact = ModelArtifact.open(model)
    chosen = chosen_engine(artifact, engine, VllmSettings(experts=experts, dtype=dtype, compile=compile_model))
    sampling = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    answer = asyncio.run(_answer(chosen, prompt, sampling, system=system, raw=raw, stream=not as_json))
    if as_json:
        typer.echo(json.dumps({"model": str(model), "digest": artifact.digest} | answer, ensure_ascii=False, indent=2))
    else:
        seconds, tokens = answer["seconds"], answer["completion_tokens"]
        Console(stderr=True).print(
            f"[dim]{answer['engine']}: {tokens} tokens in {seconds:.1f} s ({tokens / seconds:.1f} a second), "
            f"ready after {answer['start_seconds']:.1f} s, ended by {answer['finish_reason']}[/dim]",
            highlight=False,
        )


async def _answer(
    engine: "Engine", prompt: str, sampling: dict[str, Any], *, system: str | None, raw: bool, stream: bool
) -> dict[str, Any]:
    """Start the engine, generate once, stop it; prints text as it comes if `stream`."""
    from moesaic.server.engine.validation import validate

    request = _request(engine, prompt, sampling, system=system, raw=raw)
    validate(request, engine.limits)  # a wrong value should not cost the loading of a model
    began = time.perf_counter()
    with Console(stderr=True).status("loading the model and replaying its canary"):
        await engine.start()
    started = time.perf_counter()
    try:
        text, last = "", None
        async with aclosing(engine.generate(request)) as deltas:
            async for delta in deltas:
                text += delta.text
                last = delta
                if stream:
                    typer.echo(delta.text, nl=False)
        if stream:
            typer.echo()
        ended = time.perf_counter()
    finally:
        await engine.stop()
    assert last is not None
    assert last.usage is not None
    return {
        "engine": type(engine).__name__,
        "prompt_tokens": last.usage.prompt_tokens,
        "completion_tokens": last.usage.completion_tokens,
        "text": text,
        "finish_reason": last.finish_reason,
        "start_seconds": round(started - began, 3),
        "seconds": round(ended - started, 3),
    }


def _request(
    engine: "Engine", prompt: str, sampling: dict[str, Any], *, system: str | None, raw: bool
) -> "GenerateRequest":
    """The prompt as token ids: through the chat template where the tokenizer has one, unless `raw`."""
    from moesaic import v1
    from moesaic.server.conversation import has_chat_template, prompt_of
    from moesaic.server.engine import GenerateRequest, SamplingParameters

    for field, text in (("prompt", prompt), ("system", system or "")):
        try:
            text.encode()
        except UnicodeEncodeError as error:  # what the shell gave is kept as half a character, which no tokenizer takes
            raise RequestError(
                field, f"{text[:40]!r} is not text in UTF-8 ({error.reason}): convert it first"
            ) from error
    tokenizer = engine.tokenizer
    if raw or not has_chat_template(tokenizer):
        if system is not None:
            raise InputError("system has no place without a chat template: put the instruction into the prompt")
        ids = tokenizer.encode(prompt)
    else:
        messages = [v1.ChatMessage(role=v1.Role.ROLE_SYSTEM, content=system)] if system else []
        messages.append(v1.ChatMessage(role=v1.Role.ROLE_USER, content=prompt))
        ids = tokenizer.encode(prompt_of(tokenizer, messages).text, add_special_tokens=False)
    return GenerateRequest(prompt_token_ids=tuple(ids), sampling=SamplingParameters(**sampling))
