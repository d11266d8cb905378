"""The transport connects to what was checked, and to nothing else; the host's certificate is checked all the same."""

import asyncio
import socket
from pathlib import Path

import httpx
import pytest

from moesaic.errors import ForbiddenAddressError, PageError, PageLimitError
from moesaic.tools.page import AddressPolicy, GuardedTransport, Resolver, ScriptedResolver, SystemResolver
from moesaic.tools.page.exchange import Answer, ExchangeLimits, exchange
from tests.tools.page.certificates import Authority
from tests.tools.page.lab import Lab, answer, lab

LIMITS = ExchangeLimits(timeout_s=60, body_bytes=10_000)


def guarded(running: Lab, *answers: list[str], **given: object) -> tuple[GuardedTransport, ScriptedResolver]:
    resolver = ScriptedResolver({"site.test": answers or [["127.0.0.1"]], "wrong.test": [["127.0.0.1"]]})
    policy = AddressPolicy(exceptions=frozenset({running.address, f"127.0.0.2:{running.port}"}))
    return GuardedTransport(policy=policy, resolver=resolver, **given), resolver  # type: ignore[arg-type]


async def ask(transport: httpx.AsyncBaseTransport, url: str) -> Answer:
    return await exchange(transport, httpx.Request("GET", url), LIMITS)


async def test_the_host_is_named_and_its_address_connected_to() -> None:
    with lab({"/": answer("hello")}) as running:
        transport, resolver = guarded(running)
        assert (await ask(transport, running.url())).body == b"hello"
        assert running.requests[0].headers["host"] == f"site.test:{running.port}"
        assert resolver.lookups == ["site.test"]


@pytest.mark.parametrize(
    "private", ["127.0.0.3", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
)
async def test_a_name_that_leads_inside_is_refused(private: str) -> None:
    with lab({"/": answer("secret")}) as running:
        transport, _ = guarded(running, [private])
        with pytest.raises(ForbiddenAddressError, match="its host leads to"):
            await ask(transport, running.url())
        # One forbidden address among good ones refuses them all.
        transport, _ = guarded(running, ["127.0.0.1", private])
        with pytest.raises(ForbiddenAddressError, match="its host leads to"):
            await ask(transport, running.url())
        assert running.requests == []


async def test_an_answer_that_changes_between_check_and_connection_does_not_matter() -> None:
    with lab({"/": answer("hello")}) as running:
        # The second look-up would lead elsewhere; there is no second look-up.
        transport, resolver = guarded(running, ["127.0.0.1"], ["10.0.0.1"])
        assert (await ask(transport, running.url())).body == b"hello"
        assert resolver.lookups == ["site.test"]
        # The next request looks up anew, and checks anew.
        with pytest.raises(ForbiddenAddressError, match=r"10\.0\.0\.1, which is private"):
            await ask(transport, running.url())
        assert len(running.requests) == 1


async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    with lab({"/": answer("hello")}) as running:
        transport, _ = guarded(running, ["127.0.0.2", "127.0.0.1"])
        assert (await ask(transport, running.url())).body == b"hello"
        transport, _ = guarded(running, ["127.0.0.2"])
        with pytest.raises(PageError, match="ConnectError"):
            await ask(transport, running.url())


async def test_a_literal_address_needs_no_resolver() -> None:
    with lab({"/": answer("hello")}) as running:
        transport, resolver = guarded(running)
        assert (await ask(transport, running.url(host="127.0.0.1"))).body == b"hello"
        with pytest.raises(ForbiddenAddressError, match="loopback"):
            await ask(transport, running.url(host="127.0.0.3"))
        assert resolver.lookups == []


async def test_https_shows_and_checks_the_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with lab({"/": answer("hello")}, context=authority.server("site.test")) as running:
        transport, _ = guarded(running, certificates=authority.trusted())
        assert (await ask(transport, f"https://site.test:{running.port}/")).body == b"hello"
        assert (await ask(transport, f"https://site.test.:{running.port}/")).status == 200


async def test_the_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with lab({"/": answer("hello")}, context=authority.server("site.test")) as running:
        running.keeps_open = True
        transport, _ = guarded(running, certificates=authority.trusted())
        # Another name first leads to the same address: no connection of the one serves the other.
        assert (await ask(transport, f"https://site.test:{running.port}/")).status == 200
        for host in ("wrong.test", "127.0.0.1"):
            with pytest.raises(PageError, match="CERTIFICATE_VERIFY_FAILED"):
                await ask(transport, f"https://{host}:{running.port}/")
        assert len(running.requests) == 1


async def test_an_authority_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with lab({"/": answer("hello")}, context=Authority(tmp_path).server("site.test")) as running:
        transport, _ = guarded(running)
        with pytest.raises(PageError, match="CERTIFICATE_VERIFY_FAILED"):
            await ask(transport, f"https://site.test:{running.port}/")


async def test_names_without_addresses_say_so() -> None:
    with lab({}) as running:
        transport, _ = guarded(running, [])
        for host in ("site.test", "gone.test"):
            with pytest.raises(PageError, match=f"'{host}' has no address"):
                await ask(transport, running.url(host=host))


async def test_a_resolver_that_sleeps_meets_the_deadline() -> None:
    class Sleeping:
        async def resolve(self, host: str, port: int) -> list[str]:
            await asyncio.sleep(60)
            return ["127.0.0.1"]

    transport = GuardedTransport(resolver=Sleeping())
    limits = ExchangeLimits(timeout_s=0.05, body_bytes=10)
    with pytest.raises(PageLimitError, match=r"did not answer within 0\.05 s"):
        await exchange(transport, httpx.Request("GET", "http://site.test/"), limits)


async def test_the_system_resolver_knows_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "127.0.0.1" in await SystemResolver().resolve("localhost", 80)
    assert isinstance(SystemResolver(), Resolver)
    assert isinstance(ScriptedResolver({}), Resolver)

    async def unknown(host: str, port: int, *, type: int) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(PageError, match=r"'gone\.test' has no address .*unknown.*check its name"):
        await SystemResolver().resolve("gone.test", 80)


async def test_no_connection_serves_two_requests() -> None:
    with lab({"/": answer("hello")}) as running:
        running.keeps_open = True
        transport, _ = guarded(running)
        for _ in range(3):
            await ask(transport, running.url())
        assert (len(running.requests), running.connections) == (3, 3)


async def test_many_requests_of_one_transport_run_side_by_side() -> None:
    with lab({"/": answer("hello")}) as running:
        transport, _ = guarded(running)
        found = await asyncio.gather(*(ask(transport, running.url()) for _ in range(20)))
        assert {each.body for each in found} == {b"hello"}


def test_one_transport_serves_several_event_loops() -> None:
    with lab({"/": answer("hello")}) as running:
        transport, _ = guarded(running)
        for _ in range(3):
            assert asyncio.run(ask(transport, running.url())).body == b"hello"
