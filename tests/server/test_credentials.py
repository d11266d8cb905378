"""Who may call: tokens, whose requests an Abort reaches, TLS; and what is never served in the clear."""

import asyncio
import datetime
import ipaddress
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moesaic import v1
from moesaic.client import AsyncClient
from moesaic.errors import InputError, UnauthenticatedError
from moesaic.server import MoesaicServer, ServerConfig
from moesaic.server.credentials import Tokens
from moesaic.server.engine import ScriptedEngine
from tests.client.waiting import PATIENCE_S, until
from tests.server.serving import ENDLESS, METHODS, Served, generate, refused, serving, streamed

ADA, BOB = "ada-" + "a" * 20, "bob-" + "b" * 20
ABORTED, NOT_FOUND = v1.AbortOutcome.ABORT_OUTCOME_ABORTED, v1.AbortOutcome.ABORT_OUTCOME_NOT_FOUND


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.txt"
    path.write_text(f"# who may call\nada {ADA}\n\nbob\t{BOB}\n")
    return path


def bearer(token: str, **more: str) -> dict[str, Any]:
    return {"metadata": [("authorization", f"Bearer {token}"), *more.items()]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer wrong-token-that-is-long")],
        [("authorization", ADA)],
        [("authorization", f"Basic {ADA}")],
        [("authorization", f"Bearer {ADA}x")],
        [("authorization", "Bearer " + "x" * 4000)],
        [("x-authorization", f"Bearer {ADA}")],
    ],
    ids=lambda metadata: str(metadata)[:40],
)
async def test_no_credential_no_answer(tokens_file: Path, method: str, metadata: list[tuple[str, str]]) -> None:
    async with serving(tokens_file=tokens_file) as served:
        refusal = await refused(served, method, METHODS[method](), metadata=metadata)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        assert ADA not in refusal.message
        assert await served.healthy()  # probes have no token


async def test_every_name_has_its_token(tokens_file: Path) -> None:
    async with serving(tokens_file=tokens_file) as served:
        for token in (ADA, BOB):
            assert (await served.call("Generate", generate(), **bearer(token))).completions[0].text == "ok"
        lower = {"metadata": [("authorization", f"bearer  {ADA} ")]}
        assert (await served.call("Generate", generate(), **lower)).completions
        async with AsyncClient(served.server.target, token=BOB, retries=0) as client:
            assert (await client.generate(generate())).completions
        async with AsyncClient(served.server.target, token="somebody-elses-token", retries=0) as client:
            with pytest.raises(UnauthenticatedError):
                await client.generate(generate())


async def test_an_abort_reaches_only_the_caller_s_own(tokens_file: Path) -> None:
    async with serving([ENDLESS], tokens_file=tokens_file) as served:
        names = {
            token: served.call("GenerateStream", streamed(request_id="same"), **bearer(token)) for token in (ADA, BOB)
        }
        calls = {token: asyncio.ensure_future(call) for token, call in names.items()}
        await until(lambda: served.server.engine.load().running == 2)
        own = v1.AbortRequest(request_id="same")
        assert (await served.call("Abort", v1.AbortRequest(request_id="other"), **bearer(BOB))).outcome == NOT_FOUND
        assert (await served.call("Abort", own, **bearer(ADA))).outcome == ABORTED
        events = await calls[ADA]
        assert events[-1].finished.finish_reason == v1.FinishReason.FINISH_REASON_ABORTED
        assert (await served.call("Abort", own, **bearer(ADA))).outcome == NOT_FOUND
        assert served.server.engine.load().running == 1
        assert not calls[BOB].done()
        # Not even by the name that the engine knows it by.
        [call] = served.server.service.calls
        hidden = v1.AbortRequest(request_id=call.engine_id)
        assert (await served.call("Abort", hidden, **bearer(ADA))).outcome == NOT_FOUND
        assert (await served.call("Abort", own, **bearer(BOB))).outcome == ABORTED
        assert (await calls[BOB])[-1].HasField("finished")
        await served.until_idle()


async def test_a_name_is_used_once_at_a_time(tokens_file: Path) -> None:
    async with serving([ENDLESS], tokens_file=tokens_file) as served:
        stream = served.inference.GenerateStream(streamed(request_id="x"), timeout=PATIENCE_S, **bearer(ADA))
        assert (await stream.read()).started.request_id == "x"
        again = await refused(served, "Generate", generate(request_id="x"), **bearer(ADA))
        assert (again.code, again.field) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
        # Calls that cannot be aborted have no name to collide with.
        pairs = v1.ScoreRequest(continuations=[v1.TextOrTokens(text="xy")])
        assert (await served.call("Score", pairs, **bearer(ADA, **{"x-request-id": "x"}))).scores
        stream.cancel()
        await served.until_idle()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "no token"),
        ("# nothing\n", "no token"),
        ("ada short", "line 1"),
        (f"ada {ADA}\n{BOB}", "line 2"),
        (f"ada {ADA} more", "line 1"),
        (f"ada {ADA}\nbob {ADA}", "'ada' already"),
    ],
)
def test_a_tokens_file_that_cannot_be_used(tmp_path: Path, content: str, part: str) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=part) as raised:
        Tokens.read(path)
    assert ADA not in str(raised.value)
    assert BOB not in str(raised.value)


def test_tokens_are_kept_as_digests(tokens_file: Path) -> None:
    assert ADA not in repr(Tokens.read(tokens_file))


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
    return paths


async def test_tls(tokens_file: Path, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    async with AsyncExitStack() as stack:
        config = ServerConfig(
            listen="127.0.0.1:0", tokens_file=tokens_file, tls_certificate=certificate, tls_key=key, drain_s=0
        )
        server = MoesaicServer(ScriptedEngine(), config, model_name="tiny")
        await server.start()
        stack.push_async_callback(server.stop)
        async with AsyncClient(server.target, token=ADA, root_certificates=certificate, retries=0) as client:
            assert (await client.generate(generate())).completions[0].text == "ok"
        async with grpc.aio.insecure_channel(server.target) as channel:
            plain = await refused(Served(server=server, channel=channel), "Generate", generate())
        assert plain.code == grpc.StatusCode.UNAVAILABLE
        other = self_signed(tmp_path)[0].read_bytes()
        async with grpc.aio.secure_channel(server.target, grpc.ssl_channel_credentials(other)) as channel:
            foreign = await refused(Served(server=server, channel=channel), "Generate", generate())
        assert foreign.code == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("content", [b"", b"nothing", None])
async def test_a_certificate_that_cannot_be_used(tmp_path: Path, content: bytes | None) -> None:
    certificate, key = self_signed(tmp_path)
    if content is None:
        certificate.unlink()
    else:
        certificate.write_bytes(content)
    config = ServerConfig(listen="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    with pytest.raises(InputError, match=r"tls_certificate|certificate is unusable"):
        await MoesaicServer(ScriptedEngine(), config).start()
