"""Addresses of one page have one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.search import canonical_url
from moesaic.tools.search.url_spelling import page_key


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://Example.ORG", "https://example.org/"),
        ("https://example.org:443/a/", "https://example.org/a"),
        ("http://example.org:80/a//", "http://example.org/a"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("https://example.org./a", "https://example.org/a"),
        ("https://example.org/a#part", "https://example.org/a"),
        ("https://example.org/a?", "https://example.org/a"),
        ("https://example.org/?utm_source=x&id=7&UTM_Campaign=y&fbclid=1&gclid=2", "https://example.org/?id=7"),
        ("https://example.org/?b=2&a=1&a=0", "https://example.org/?a=1&a=0&b=2"),
        ("https://example.org/?a&&b=", "https://example.org/?a&b="),
        ("https://example.org/%7euser/%e4%b8%ad", "https://example.org/~user/%E4%B8%AD"),
        ("https://example.org/中", "https://example.org/%E4%B8%AD"),
        ("https://example.org/a/../b/./c", "https://example.org/b/c"),
        ("https://中文.example/", "https://xn--fiq228c.example/"),
        ("https://example.org/?spm=a2c4g&q=专家", "https://example.org/?q=%E4%B8%93%E5%AE%B6"),
        ("https://example.org/?url=http%3a%2f%2fx", "https://example.org/?url=http%3A%2F%2Fx"),
        ("https://[2606:4700::1]:443/", "https://[2606:4700::1]/"),
        ("https://example.org/a%2Fb", "https://example.org/a%2Fb"),
        ("https://example.org/?reference=1&spmx=2", "https://example.org/?reference=1&spmx=2"),
    ],
)
def test_what_does_not_choose_the_page_is_gone(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


@pytest.mark.parametrize(
    "url", ["kb://web/doc?start=1&end=2", "ftp://x/y/", "mailto:a@b", "no address", "", "http://", "http://[::1"]
)
def test_what_is_no_web_address_stays_as_it_is(url: str) -> None:
    assert canonical_url(url) == url


def test_pages_are_compared_without_scheme_and_www() -> None:
    assert page_key("kb://www.web/doc?start=1") == "kb://www.web/doc?start=1"
    assert page_key("http://www.example.org/a/") == page_key("https://example.org/a#x") == "example.org/a"
    assert page_key("https://www.example.org/A") != page_key("https://example.org/a")
    assert page_key("https://example.org/?p=1") != page_key("https://example.org/?p=2")


hosts = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]\.(example|test)", fullmatch=True)
paths = st.lists(st.text(alphabet="abcXYZ019-._~%中 /", max_size=6), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
names = st.text(alphabet="abcxyz019_中%", min_size=1, max_size=5)
queries = st.lists(st.tuples(names, names), max_size=4)
trackers = st.sampled_from(["utm_source=a", "gclid=b", "fbclid=c utm_x=1", ""])


def address(host: str, path: str, query: list[tuple[str, str]], **parts: str) -> str:
    asked = "&".join([*parts.get("before", "").split(), *(f"{name}={value}" for name, value in query)])
    return f"https://{host}{parts.get('port', '')}{path}?{asked}{parts.get('fragment', '')}"


@given(hosts, paths, queries)
def test_the_spelling_is_final(host: str, path: str, query: list[tuple[str, str]]) -> None:
    once = canonical_url(address(host, path, query))
    assert canonical_url(once) == once


@given(
    hosts,
    paths,
    queries,
    st.sampled_from(["utm_source=a", "gclid=b", "fbclid=c utm_x=1", ""]),
    st.text("abc#?/", max_size=5),
)
def test_tracking_ports_and_fragments_do_not_matter(
    host: str, path: str, query: list[tuple[str, str]], tracking: str, fragment: str
) -> None:
    plain = canonical_url(address(host, path, query))
    dressed = address(host.upper(), path, query, before=tracking, port=":443", fragment="#" + fragment)
    assert canonical_url(dressed) == plain


@given(hosts, st.text(alphabet="abc/", max_size=8), st.integers(0, 3))
def test_slashes_at_the_end_do_not_matter(host: str, path: str, slashes: int) -> None:
    assert canonical_url(f"https://{host}/{path}" + "/" * slashes) == canonical_url(f"https://{host}/{path}")


@given(st.text(max_size=60))
def test_any_text_is_survived(text: str) -> None:
    for url in (text, f"https://example.org/{text}", f"https://{text}/"):
        once = canonical_url(url)
        assert canonical_url(once) == once
        assert isinstance(page_key(url), str)
