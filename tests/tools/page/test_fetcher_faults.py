"""The hostile lab: whatever a server does, a fetch ends in time, in bounds, and in a typed error."""

import gzip
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from moesaic.errors import (
    ForbiddenAddressError,
    PageError,
    PageLimitError,
    RobotsError,
    UnreadablePageError,
)
from moesaic.tools.page import Page
from tests.client.waiting import GROWING_S
from tests.tools.page.certificates import Authority
from tests.tools.page.lab import ENDLESS, Lab, Request, Route, Send, answer, fetcher_of, lab, page_of

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_SLOW = "did not answer within"
BOMB_BYTES = 24 * 2**20


def raw(*pieces: bytes, pause_s: float = 0.0, times: int = 1) -> Route:
    """A route that sends the first piece once, and the others again and again, with pauses between."""

    def route(request: Request, send: Send) -> None:
        send(pieces[0])
        for _ in range(times):
            for piece in pieces[1:]:
                send(piece)
            time.sleep(pause_s)

    return route


def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(b"<p>" * (BOMB_BYTES // 3))


HOSTILE: dict[str, tuple[Route, type[PageError], str]] = {
    "endless body": (raw(HEAD + b"\r\n", b"x" * 65536, times=ENDLESS), PageLimitError, "more than 100000 bytes"),
    "endless chunks": (
        raw(CHUNKED, b"1000\r\n" + b"x" * 4096 + b"\r\n", times=ENDLESS),
        PageLimitError,
        "more than 100000 bytes",
    ),
    "announced size": (raw(HEAD + b"Content-Length: 99999999\r\n\r\n"), PageLimitError, "announces 99999999 bytes"),
    "slow body": (raw(HEAD + b"\r\n", b"x", pause_s=0.05, times=ENDLESS), PageLimitError, TOO_SLOW),
    "slow headers": (raw(HEAD, b"X: y\r\n", pause_s=0.05, times=ENDLESS), PageLimitError, TOO_SLOW),
    "silence": (raw(b"", pause_s=60), PageLimitError, TOO_SLOW),
    "endless interim answers": (
        raw(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause_s=0.001, times=ENDLESS),
        PageLimitError,
        TOO_SLOW,
    ),
    "gzip bomb": (answer(bomb(gzip.compress), Content_Encoding="gzip"), PageLimitError, "more than 100000 bytes"),
    "deflate bomb": (answer(bomb(zlib.compress), Content_Encoding="deflate"), PageLimitError, "more than 100000 bytes"),
    "gzip in gzip": (
        answer(gzip.compress(gzip.compress(b"x" * 10**6)), Content_Encoding="gzip, gzip"),
        UnreadablePageError,
        "only gzip, deflate were asked for",
    ),
    "brotli": (answer(b"\x8b\x02\x80hello\x03", Content_Encoding="br"), UnreadablePageError, "compressed as 'br'"),
    "zstd": (answer(b"\x28\xb5\x2f\xfd", Content_Encoding="zstd"), UnreadablePageError, "compressed as 'zstd'"),
    "cut gzip": (answer(gzip.compress(b"x" * 1000)[:20], Content_Encoding="gzip"), UnreadablePageError, "is damaged"),
    "no gzip": (answer(b"plain", Content_Encoding="gzip"), UnreadablePageError, "is damaged"),
    "many headers": (
        raw(HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\nx"),
        PageLimitError,
        "bytes of headers, more than 32768",
    ),
    "one huge header": (raw(HEAD + b"X: " + b"y" * 10**6 + b"\r\n\r\nx"), PageError, "RemoteProtocolError"),
    "endless header": (raw(HEAD + b"X: ", b"y" * 65536, times=ENDLESS), PageError, "RemoteProtocolError"),
    "broken chunk size": (raw(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"), PageError, "RemoteProtocolError"),
    "negative chunk": (raw(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"), PageError, "RemoteProtocolError"),
    "cut chunks": (raw(CHUNKED + b"5\r\nhel"), PageError, "RemoteProtocolError"),
    "cut body": (raw(HEAD + b"Content-Length: 100\r\n\r\nshort"), PageError, "RemoteProtocolError"),
    "two lengths": (
        raw(HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        PageError,
        "RemoteProtocolError",
    ),
    "no HTTP": (raw(b"220 mail.site.test ESMTP\r\n"), PageError, "RemoteProtocolError"),
    "nothing": (raw(b""), PageError, "RemoteProtocolError"),
    "binary": (answer(b"\x89PNG\r\n\x1a\n" + b"\0" * 100, type_="image/png"), UnreadablePageError, "is image/png"),
    "PDF": (answer(b"%PDF-1.7", type_="application/pdf"), UnreadablePageError, "is application/pdf"),
    "event stream": (answer(b"data: x\n\n", type_="text/event-stream"), UnreadablePageError, "is text/event-stream"),
    "PNG called HTML": (answer(b"\x89PNG\r\n\x1a\nxx", type_="text/html"), UnreadablePageError, "but is binary"),
    "zeros called text": (answer(b"a\0b" * 100, type_="text/plain"), UnreadablePageError, "but is binary"),
    "program without a type": (answer(b"\x7fELF\x02\x01", type_=None), UnreadablePageError, "but is binary"),
    "error": (answer(page_of("x", "y"), status="500 Internal Server Error"), PageError, "status 500"),
    "no content": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), PageError, "status 204"),
    "login": (answer(b"", status="401 Unauthorized", WWW_Authenticate="Basic"), PageError, "status 401"),
    "redirect to nowhere": (answer(b"", status="302 Found"), PageError, "not where to go"),
    "redirect to itself": (answer(b"", status="302 Found", Location="/"), PageError, "in a circle"),
    "redirect to a file": (
        answer(b"", status="302 Found", Location="file:///etc/passwd"),
        ForbiddenAddressError,
        "scheme is 'file'",
    ),
    "redirect with a password": (
        answer(b"", status="302 Found", Location="http://u:p@site.test/"),
        ForbiddenAddressError,
        "user name or password",
    ),
    "redirect to metadata": (
        answer(b"", status="302 Found", Location="http://169.254.169.254/latest/meta-data/"),
        ForbiddenAddressError,
        "link-local, where clouds serve credentials",
    ),
    "redirect to loopback": (
        answer(b"", status="307 Temporary Redirect", Location="http://127.0.0.1/"),
        ForbiddenAddressError,
        "loopback",
    ),
    "redirect to a number": (
        answer(b"", status="308 Permanent Redirect", Location="//2130706433/"),
        ForbiddenAddressError,
        "odd notation",
    ),
    "redirect to a mapped address": (
        answer(b"", status="302 Found", Location="http://[::ffff:10.0.0.1]/"),
        ForbiddenAddressError,
        "mapped",
    ),
    "redirect to another port": (
        answer(b"", status="302 Found", Location="http://site.test:22/"),
        ForbiddenAddressError,
        "port 22",
    ),
    "redirect to a name that leads inside": (
        answer(b"", status="302 Found", Location="http://inside.test/"),
        ForbiddenAddressError,
        r"10\.1\.2\.3, which is private",
    ),
    "redirect to a huge address": (
        answer(b"", status="302 Found", Location="/" + "a" * 70_000),
        PageError,
        "RemoteProtocolError|headers",
    ),
    "redirect with an endless body": (
        raw(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\n\r\n", b"x" * 65536, times=ENDLESS),
        ForbiddenAddressError,
        "private",
    ),
}


async def fetch(running: Lab, path: str = "/", **options: Any) -> Page:
    given = {"body_bytes": 100_000, "hosts": {"inside.test": [["10.1.2.3"]]}, **options}
    with fetcher_of(running, **given) as fetcher:
        return await fetcher.afetch(running.url(path))


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_servers_meet_a_typed_error(name: str) -> None:
    route, error, message = HOSTILE[name]
    for timeout_s in GROWING_S if message == TOO_SLOW else (60.0,):
        with lab({"/": route}) as running:
            with pytest.raises(error) as caught:
                await fetch(running, timeout_s=timeout_s)
            assert len(str(caught.value)) < 1000
        if running.requests:  # else it stood still for so long that nothing was asked
            break
    assert re.search(message, str(caught.value))
    assert len(running.requests) == 1


async def test_a_slow_host_is_given_up_and_others_are_still_read() -> None:
    routes = {"/": raw(HEAD + b"\r\n", b"x", pause_s=0.05, times=ENDLESS), "/good": answer("good", type_="text/plain")}
    with lab(routes) as running, fetcher_of(running, timeout_s=0.4) as fetcher:
        with pytest.raises(PageLimitError):
            await fetcher.afetch(running.url())
        fetcher.options = replace(fetcher.options, timeout_s=60.0)  # the good one answers when the machine lets it
        assert (await fetcher.afetch(running.url("/good"))).text == "good"


async def test_redirects_are_bounded_and_circles_found() -> None:
    routes: dict[str, Route] = {f"/{n}": answer(status="302 Found", Location=f"/{n + 1}") for n in range(10)}
    routes |= {"/a": answer(status="302 Found", Location="/b"), "/b": answer(status="302 Found", Location="/a#x")}
    with lab(routes) as running:
        with pytest.raises(PageLimitError, match="more than 5 redirects away"):
            await fetch(running, "/0")
        assert len(running.requests) == 6
        with pytest.raises(PageError, match="in a circle"):
            await fetch(running, "/a")
        with pytest.raises(PageLimitError, match="more than 0 redirects"):
            await fetch(running, "/0", redirects=0)


async def test_a_name_may_not_lead_inside_on_the_second_hop() -> None:
    with lab({"/": answer(status="302 Found", Location="/next"), "/next": answer("secret")}) as running:
        with pytest.raises(ForbiddenAddressError, match=r"192\.168\.1\.1, which is private"):
            await fetch(running, hosts={"site.test": [["127.0.0.1"], ["192.168.1.1"]]})
        assert running.paths == ["/"]


async def test_https_does_not_lead_to_http(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with lab({}, context=authority.server("site.test")) as running:
        running.routes["/"] = answer(status="302 Found", Location=f"http://site.test:{running.port}/x")
        fetcher = fetcher_of(running, certificates=authority.trusted())
        with fetcher, pytest.raises(ForbiddenAddressError, match="redirects from https to"):
            await fetcher.afetch(f"https://site.test:{running.port}/")
        assert running.paths == ["/"]


async def test_robots_txt_is_guarded_like_any_page() -> None:
    robots = {
        "endless": (raw(b"HTTP/1.1 200 OK\r\n\r\n", b"#" * 65536, times=ENDLESS), PageLimitError, "524288 bytes"),
        "inside": (answer(status="302 Found", Location="http://10.0.0.1/"), ForbiddenAddressError, "private"),
        "slow": (raw(b"HTTP/1.1 200 OK\r\n\r\n", b"#", pause_s=0.05, times=ENDLESS), PageLimitError, TOO_SLOW),
        "circle": (answer(status="302 Found", Location="/robots.txt"), RobotsError, "more than 5 redirects"),
        "broken": (raw(b"junk"), RobotsError, "cannot be had"),
    }
    for route, error, message in robots.values():
        for timeout_s in GROWING_S if message == TOO_SLOW else (60.0,):
            with lab({"/robots.txt": route, "/": answer("secret")}) as running:
                with pytest.raises(error) as caught:
                    await fetch(running, heeds_robots=True, timeout_s=timeout_s)
                assert "/" not in running.paths
            if running.paths or message != TOO_SLOW:  # else it stood still for so long that nothing was asked
                break
        assert re.search(message, str(caught.value))


async def test_a_page_that_takes_minutes_to_take_apart_is_given_up() -> None:
    page = "<html><body><p " + " ".join(f'a{n}="b"' for n in range(100_000)) + ">x</p></body></html>"
    routes = {"/": answer(page), "/good": answer(page_of("Good", "ordinary text " * 20))}
    with lab(routes) as running:
        fetcher = fetcher_of(running, reading_timeout_s=0.8)
        with fetcher, pytest.raises(PageLimitError, match=r"was not taken apart within 0\.8 s"):
            await fetcher.afetch(running.url())
    with lab(routes) as running, fetcher_of(running) as fetcher:
        assert (await fetcher.afetch(running.url("/good"))).title == "Good"


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 100_000 + "deep" + "</div>" * 100_000,
        "<table><tr><td>" * 5000 + "deep",
        "<" * 50_000,
        "<!--" * 20_000,
        "&amp;" * 50_000 + "&#x110000;&#0;&#xd800;",
        "<script>" + "x" * 100_000,
        "<p>\x01\x02\x7f\ufeff\u2028text</p>",
        "<html><title>" + "t" * 50_000,
    ],
)
async def test_odd_html_is_read_or_refused(page: str) -> None:
    with lab({"/": answer(page)}) as running:
        try:
            found = await fetch(running, body_bytes=2_000_000)
        except UnreadablePageError:
            return
        assert not set(found.text) & set("\x01\x02\x7f\ufeff\u2028\r")
        assert len(found.title) <= 1000
