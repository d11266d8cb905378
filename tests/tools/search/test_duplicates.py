"""Results that repeat each other are given once."""

from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.search import PassageSpan, SearchResult
from moesaic.tools.search.duplicates import without_duplicates
from tests.tools.search.results import result

ENGLISH = "A mixture of experts routes each token to few feed-forward networks, so that computation stays small."
CHINESE = "混合专家模型把每个词元路由到少数几个前馈网络，参数量增加而计算量几乎不变。"


def urls(*found: SearchResult) -> list[str]:
    return [each.url for each in without_duplicates(found)]


def test_addresses_of_one_page_are_one_result() -> None:
    found = without_duplicates(
        [
            result("https://a.example/x?utm_source=y", snippet="first"),
            result("https://b.example/"),
            result("http://www.a.example/x/#part", snippet="second"),
            result("https://a.example/x?utm_source=y", snippet="third"),
        ]
    )
    assert (found[0].url, found[0].rank, found[0].snippet) == ("https://a.example/x?utm_source=y", 1, "first")
    assert [each.rank for each in found] == [1, 2]
    assert found[0].also_at == ("http://www.a.example/x/#part",)


def test_texts_that_say_nearly_the_same_are_one_result() -> None:
    for text in (ENGLISH, CHINESE):
        one = result("https://a.example/", title="Title", snippet=text)
        copy = result("https://b.example/", title="Title!", snippet="  " + text.upper() + " …")
        other = result("https://c.example/", title="Title", snippet="Something else is said here, at some length, too.")
        found = without_duplicates([one, copy, other])
        assert [each.url for each in found] == ["https://a.example/", "https://c.example/"]
        assert found[0].also_at == ("https://b.example/",)
        # A third copy at the address of the second is the first one's as well.
        assert urls(one, copy, result("https://b.example/", snippet="new")) == ["https://a.example/"]


def test_texts_with_other_numbers_differ() -> None:
    notes = [
        result(f"https://a.example/{n}", title=f"Release 1.{n}", snippet=f"Notes of release 1.{n}: {ENGLISH}")
        for n in range(3)
    ]
    assert len(without_duplicates(notes)) == 3


def test_short_texts_are_not_compared() -> None:
    assert (
        len(without_duplicates([result(f"https://{x}.example/", title="Home", snippet="Welcome") for x in "abc"])) == 3
    )


def test_passages_of_a_base_are_each_their_own() -> None:
    passages = [
        result(
            f"kb://web/doc?start={n}&end={n + 9}", title="T", snippet=ENGLISH, span=PassageSpan("web", "doc", n, n + 9)
        )
        for n in range(3)
    ]
    assert len(without_duplicates(passages)) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "/", "/x", "/x/", "/y?utm_id=1"])), max_size=12))
def test_what_is_left_is_in_order_ranked_and_without_repetition(places: list[tuple[str, str]]) -> None:
    given_results = [result(f"https://{host}.example{path}") for host, path in places]
    found = without_duplicates(given_results)
    assert [each.rank for each in found] == list(range(1, len(found) + 1))
    assert without_duplicates(found) == found
    order = [each.url for each in given_results]
    assert [order.index(each.url) for each in found] == sorted(order.index(each.url) for each in found)
    assert {url for each in found for url in (each.url, *each.also_at)} == set(order)
