"""Recordings: what was answered is answered again, exactly and without a network; secrets are not in them."""

import json
from pathlib import Path

import httpx
import pytest

from moesaic.errors import InputError, PageLimitError, StorageError, UnrecordedExchangeError
from moesaic.tools.page import AddressPolicy, GuardedTransport, Recording, ScriptedResolver
from moesaic.tools.page.exchange import Answer, ExchangeLimits, exchange, plain_transport
from tests.tools.page.lab import Request, Send, answer, fetcher_of, lab, page_of

LIMITS = ExchangeLimits(timeout_s=60, body_bytes=10**6)
CHINESE = "混合专家模型把每个词元交给少数专家处理。"
KEY = "sk-live-0123456789"


async def ask(transport: httpx.AsyncBaseTransport, url: str, method: str = "GET", **given: object) -> Answer:
    return await exchange(transport, httpx.Request(method, url, **given), LIMITS)  # type: ignore[arg-type]


def counted() -> object:
    count = 0

    def route(request: Request, send: Send) -> None:
        nonlocal count
        count += 1
        answer(f"{count}: {request.body.decode()}", type_="text/plain", X_Count=str(count))(request, send)

    return route


async def test_a_replay_gives_what_was_recorded_in_its_order_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with lab({"/": counted()}) as running:  # type: ignore[dict-item]
        url = running.url(host="127.0.0.1")
        recording = Recording.record(path, plain_transport())
        asked = [("GET", url), ("POST", url), ("GET", url), ("GET", url + "?a=1")]
        first = [await ask(recording, url, method) for method, url in asked]
    again = Recording.replay(path)
    second = [await ask(again, url, method) for method, url in asked]
    assert [(found.status, found.body, found.headers["x-count"]) for found in second] == [
        (found.status, found.body, found.headers["x-count"]) for found in first
    ]
    with pytest.raises(UnrecordedExchangeError, match=r"does not hold GET '.*' that often; it was recorded with other"):
        await ask(again, url)
    with pytest.raises(UnrecordedExchangeError, match="does not hold DELETE"):
        await ask(again, url, "DELETE")


async def test_bodies_tell_exchanges_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with lab({"/": counted()}) as running:  # type: ignore[dict-item]
        url = running.url(host="127.0.0.1")
        recording = Recording.record(path, plain_transport())
        await ask(recording, url, "POST", json={"query": "one"})
        await ask(recording, url, "POST", json={"query": "二"})
    replay = Recording.replay(path)
    assert (await ask(replay, url, "POST", json={"query": "二"})).body == '2: {"query":"二"}'.encode()
    with pytest.raises(UnrecordedExchangeError):
        await ask(replay, url, "POST", json={"query": "three"})


async def test_secrets_do_not_get_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"

    def telltale(request: Request, send: Send) -> None:
        body = json.dumps({"you sent": request.headers, "access_token": "tok-abcdef", "named": "my-own-secret"})
        answer(body, type_="application/json", Set_Cookie="session=s3cr3tcookie", X_Echo=f"key {KEY}")(request, send)

    with lab({"/": telltale}) as running:
        url = running.url("/?q=x&api_key=urlsecret99&page=2", host="127.0.0.1")
        recording = Recording.record(path, plain_transport(), secrets=["my-own-secret"])
        headers = {"Authorization": f"Bearer {KEY}", "Cookie": "session=mycookie"}
        found = await ask(recording, url, "POST", headers=headers, json={"api_key": "bodysecret", "q": "my-own-secret"})
    written = path.read_text()
    for secret in (KEY, "urlsecret99", "mycookie", "s3cr3tcookie", "bodysecret", "tok-abcdef", "my-own-secret"):
        assert secret not in written
    assert "page=2" in written
    # The same question with another key, or none, is the same exchange.
    other = {"Authorization": "Bearer another-key"}
    again = await ask(
        Recording.replay(path),
        url.replace("urlsecret99", "x"),
        "POST",
        headers=other,
        json={"api_key": "zzz", "q": "[removed]"},
    )
    assert again.body == found.body


async def test_bytes_that_are_no_text_come_back_as_they_were(tmp_path: Path) -> None:
    content = "混合专家".encode("gbk") + bytes(range(128, 256)) + KEY.encode()
    with lab({"/": answer(content, type_="text/plain; charset=gbk")}) as running:
        url = running.url(host="127.0.0.1")
        recording = Recording.record(tmp_path / "run.jsonl", plain_transport())
        await ask(recording, url, headers={"X-Subscription-Token": KEY})
    replayed = await ask(Recording.replay(tmp_path / "run.jsonl"), url)
    assert replayed.body == content.replace(KEY.encode(), b"[removed]")


async def test_pages_are_replayed_without_resolver_and_server(tmp_path: Path) -> None:
    path = tmp_path / "pages.jsonl"
    routes = {
        "/robots.txt": answer("User-agent: *\nDisallow: /x", type_="text/plain"),
        "/old": answer(status="301 Moved", Location="/new"),
        "/new": answer(page_of("混合专家", CHINESE * 5).encode("gbk"), type_="text/html"),
    }
    with lab(routes) as running:
        policy = AddressPolicy(exceptions=frozenset({running.address}))
        guarded = GuardedTransport(policy=policy, resolver=ScriptedResolver({"site.test": [["127.0.0.1"]]}))
        with fetcher_of(running, heeds_robots=True, transport=Recording.record(path, guarded)) as fetcher:
            seen = await fetcher.afetch(running.url("/old"))
    with fetcher_of(running, hosts={}, heeds_robots=True, transport=Recording.replay(path)) as fetcher:
        again = await fetcher.afetch(running.url("/old"))
        assert (again.text, again.sha256, again.final_url) == (seen.text, seen.sha256, seen.final_url)
        with pytest.raises(UnrecordedExchangeError):
            await fetcher.afetch(running.url("/other"))
    assert len(running.requests) == 3


async def test_what_is_recorded_is_bounded_like_everything(tmp_path: Path) -> None:
    with lab({"/": answer("x" * 5000)}) as running:
        recording = Recording.record(tmp_path / "run.jsonl", plain_transport())
        limits = ExchangeLimits(timeout_s=60, body_bytes=1000)
        with pytest.raises(PageLimitError):
            await exchange(recording, httpx.Request("GET", running.url(host="127.0.0.1")), limits)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"request": {"method": "GET", "url": "u"}, "response": {}}',
        '{"request": {"method": "G", "url": "u", "body": ""}, "response": {"status": "x", "headers": [], "body": ""}}',
        '{"request": {"method": "G", "url": "u", "body": ""}, "response": {"status": 200, "headers": []}}',
    ],
)
def test_files_that_are_no_recordings_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="line 1, is no recorded exchange"):
        Recording.replay(path)


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="record it first"):
        Recording.replay(tmp_path / "gone.jsonl")
    with pytest.raises(StorageError, match="choose another place"):
        Recording.record(tmp_path / "no" / "folder.jsonl", plain_transport())
