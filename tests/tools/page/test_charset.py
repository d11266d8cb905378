"""Charsets: what is said is believed where it fits, and only there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.tools.page.charset import decode_page

SIMPLIFIED = "混合专家模型把每个词元交给少数专家处理，因此可以很大而仍然很快。量化让它在普通机器上也能运行。"
TRADITIONAL = "混合專家模型把每個詞元交給少數專家處理，因此可以很大而仍然很快。量化讓它在普通機器上也能執行。"
RUSSIAN = "Смесь экспертов передаёт каждый токен немногим из них, поэтому модель велика и всё же быстра. " * 3
FRENCH = "Un mélange d'experts confie chaque élément à peu d'entre eux ; c'est pourquoi le modèle reste léger. "


def markup(text: str, declared: str = "") -> str:
    meta = f'<meta charset="{declared}">' if declared else ""
    return f"<html><head>{meta}<title>x</title></head><body>{text}</body></html>"


@pytest.mark.parametrize(
    ("text", "encoding", "label", "declared"),
    [
        # what is said is true
        (SIMPLIFIED, "utf-8", "utf-8", ""),
        (SIMPLIFIED, "gbk", "gbk", ""),
        (SIMPLIFIED, "gbk", "GB2312", ""),
        (SIMPLIFIED, "gb18030", "", "gb2312"),
        (TRADITIONAL, "big5", "big5", ""),
        (TRADITIONAL, "big5", "", "Big5"),
        (RUSSIAN, "cp1251", "windows-1251", ""),
        (RUSSIAN, "koi8-r", "", "koi8-r"),
        (FRENCH, "latin-1", "iso-8859-1", ""),
        (FRENCH, "cp1252", "", "windows-1252"),
        # nothing is said
        (SIMPLIFIED, "utf-8", "", ""),
        (SIMPLIFIED, "gbk", "", ""),
        (TRADITIONAL, "big5", "", ""),
        (RUSSIAN, "cp1251", "", ""),
        # what is said is wrong
        (SIMPLIFIED, "gbk", "utf-8", ""),
        (SIMPLIFIED, "utf-8", "gbk", ""),
        (SIMPLIFIED, "utf-8", "iso-8859-1", ""),
        (SIMPLIFIED, "gbk", "iso-8859-1", "gbk"),
        (SIMPLIFIED, "gbk", "big5", ""),
        (TRADITIONAL, "big5", "gb2312", ""),
        (TRADITIONAL, "big5", "utf-8", "utf-8"),
        (SIMPLIFIED, "gb18030", "us-ascii", "gb18030"),
        # what is said is nonsense
        (SIMPLIFIED, "utf-8", "utf8mb4", "no-such"),
        (SIMPLIFIED, "gbk", "base64", "rot13"),
        (FRENCH, "utf-8", "\x00", ""),
        (FRENCH, "utf-8", "utf-7", "unicode_escape"),
        (FRENCH, "utf-8", "utf-16", "utf-16"),
    ],
)
def test_text_comes_out_right(text: str, encoding: str, label: str, declared: str) -> None:
    source = markup(text, declared)
    decoded, _ = decode_page(source.encode(encoding), label=label, is_markup=True)
    assert decoded == source


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_counts_for_more_than_what_is_said(encoding: str) -> None:
    assert decode_page(SIMPLIFIED.encode(encoding), label="gbk", is_markup=False)[0] == SIMPLIFIED


def test_the_encoding_is_named() -> None:
    assert decode_page(SIMPLIFIED.encode("gbk"), label="", is_markup=False)[1] == "gb18030"
    assert decode_page(b"plain", label="latin-1", is_markup=False)[1] == "utf-8"


def test_plain_text_does_not_declare() -> None:
    text = markup(SIMPLIFIED, "big5")
    assert decode_page(text.encode(), label="", is_markup=False) == (text, "utf-8")


@given(
    st.binary(max_size=400), st.sampled_from(["", "utf-8", "gbk", "big5", "latin-1", "shift_jis", "x"]), st.booleans()
)
def test_any_bytes_become_a_text(body: bytes, label: str, is_markup: bool) -> None:
    text, name = decode_page(body, label=label, is_markup=is_markup)
    assert isinstance(text, str)
    assert "x".encode(name)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_utf_8_that_says_so_is_read_as_such(text: str) -> None:
    body = text.encode()
    decoded, name = decode_page(body, label="utf-8", is_markup=False)
    if name == "utf-8":
        assert decoded == text.removeprefix("\ufeff")
