"""Manners: robots.txt is asked for, kept to and remembered; hosts are not hurried."""

import pytest

from moesaic.errors import PageLimitError, RobotsError
from moesaic.tools.page.robots import HostPace
from tests.tools.page.lab import Lab, Route, answer, fetcher_of, lab, page_of

PAGE = answer(page_of("Page", "Some text. " * 20))


def rules(*lines: str) -> Route:
    return answer("\n".join(lines), type_="text/plain")


class Watch:
    """A clock that goes on when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 3))
        self.now += seconds


def site(**routes: Route) -> dict[str, Route]:
    return {"/a": PAGE, "/b": PAGE, "/private/x": PAGE} | {f"/{name}.txt": route for name, route in routes.items()}


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        (["User-agent: *", "Disallow: /private/"], False),
        (["User-agent: Moesaic", "Disallow: /private/", "User-agent: *", "Allow: /"], False),
        (["User-agent: *", "Disallow: /", "User-agent: moesaic", "Disallow:"], True),
        (["User-agent: other", "Disallow: /"], True),
        (["User-agent: *", "Disallow: /private/", "Allow: /private/x$"], True),
        (["<html>not a robots file</html>"], True),
        ([""], True),
    ],
)
async def test_rules_are_kept_to(lines: list[str], allowed: bool) -> None:
    with lab(site(robots=rules(*lines))) as running, fetcher_of(running, heeds_robots=True) as fetcher:
        if allowed:
            assert (await fetcher.afetch(running.url("/private/x"))).title == "Page"
            return
        with pytest.raises(RobotsError, match=r"/robots\.txt does not want programs there"):
            await fetcher.afetch(running.url("/private/x"))
        assert running.paths == ["/robots.txt"]


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone"])
async def test_no_rules_allow_everything(status: str) -> None:
    with lab(site(robots=answer(status=status))) as running, fetcher_of(running, heeds_robots=True) as fetcher:
        assert (await fetcher.afetch(running.url("/a"))).title == "Page"


@pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Too Many Requests"])
async def test_a_host_that_cannot_say_is_left_alone_for_a_minute(status: str) -> None:
    watch = Watch()
    with (
        lab(site(robots=answer(status=status))) as running,
        fetcher_of(running, heeds_robots=True, clock=watch, sleep=watch.sleep) as fetcher,
    ):
        for _ in range(2):
            with pytest.raises(RobotsError, match=f"status {status[:3]}; try later"):
                await fetcher.afetch(running.url("/a"))
        assert running.paths == ["/robots.txt"]
        running.routes["/robots.txt"] = rules("")
        watch.now += 61
        assert (await fetcher.afetch(running.url("/a"))).title == "Page"


async def test_rules_are_remembered_and_asked_for_anew() -> None:
    watch = Watch()
    with (
        lab(site(robots=rules("User-agent: *"))) as running,
        fetcher_of(running, heeds_robots=True, robots_ttl_s=100, clock=watch, sleep=watch.sleep) as fetcher,
    ):
        for path in ("/a", "/b"):
            await fetcher.afetch(running.url(path))
        assert running.paths == ["/robots.txt", "/a", "/b"]
        watch.now += 101
        await fetcher.afetch(running.url("/a"))
        assert running.paths[3:] == ["/robots.txt", "/a"]


async def test_each_host_on_the_way_is_asked() -> None:
    with lab(site(robots=rules("User-agent: *", "Disallow: /private"))) as running:
        running.routes["/way"] = answer(status="302 Found", Location=running.url("/private/x", host="other.test"))
        fetcher = fetcher_of(running, heeds_robots=True)
        with fetcher, pytest.raises(RobotsError, match=r"other\.test"):
            await fetcher.afetch(running.url("/way"))
        assert running.paths == ["/robots.txt", "/way", "/robots.txt"]


async def test_robots_txt_may_be_elsewhere_on_the_web() -> None:
    with lab(site(robots=answer(status="301 Moved", Location="/real"))) as running:
        running.routes["/real"] = rules("User-agent: *", "Disallow: /private")
        with fetcher_of(running, heeds_robots=True) as fetcher:
            await fetcher.afetch(running.url("/a"))
            with pytest.raises(RobotsError):
                await fetcher.afetch(running.url("/private/x"))


async def paced(running: Lab, watch: Watch) -> list[float]:
    manners = {"host_delay_s": 1.0, "max_host_delay_s": 4.5}
    with fetcher_of(running, None, heeds_robots=True, clock=watch, sleep=watch.sleep, **manners) as fetcher:
        for path in ("/a", "/b", "/a"):
            await fetcher.afetch(running.url(path))
    return watch.slept


@pytest.mark.parametrize(
    ("line", "delays"),
    [
        ("Disallow: /x", [1, 1]),
        ("Crawl-delay: 3", [3, 3]),
        ("Crawl-delay: 0.2", [1, 1]),
        ("Request-rate: 1/4", [4, 4]),
        ("Crawl-delay: 999", [4.5, 4.5]),
    ],
)
async def test_a_host_is_asked_at_its_pace(line: str, delays: list[float]) -> None:
    with lab(site(robots=rules("User-agent: *", line))) as running:
        assert await paced(running, Watch()) == delays


async def test_who_cannot_wait_is_told() -> None:
    watch = Watch()
    with (
        lab(site(robots=rules("User-agent: *", "Crawl-delay: 100"))) as running,
        fetcher_of(
            running, heeds_robots=True, timeout_s=50, max_host_delay_s=200, clock=watch, sleep=watch.sleep
        ) as fetcher,
    ):
        await fetcher.afetch(running.url("/a"))
        with pytest.raises(PageLimitError, match=r"may be asked again in 100\.0 s, later than the 50\.0 s that"):
            await fetcher.afetch(running.url("/b"))
        # Another host is not kept waiting, and nothing was reserved in vain.
        await fetcher.afetch(running.url("/a", host="other.test"))
        watch.now += 100
        await fetcher.afetch(running.url("/b"))


def test_turns_are_taken_in_order() -> None:
    now = [0.0]
    pace = HostPace(lambda: now[0])
    assert [pace.reserve("a", 2, within_s=10, url="u") for _ in range(3)] == [0, 2, 4]
    assert pace.reserve("b", 2, within_s=10, url="u") == 0
    now[0] = 100.0
    assert pace.reserve("a", 2, within_s=10, url="u") == 0
