"""The words by which a text is found, and those of a question that count."""

import pytest

from moesaic.retrieval.lexical_tokens import lexical_tokens
from moesaic.retrieval.query_words import query_words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Quick  fox!", ["the", "quick", "fox"]),
        ("ＦＵＬＬ Straße", ["full", "strasse"]),
        ("call __init__() first", ["call", "__init__", "init", "first"]),
        ("os.path_sep", ["os.path_sep", "os", "path", "sep"]),
        ("async for x", ["async", "for", "x"]),
        ("x := y ** 2 != z", ["x", ":=", "y", "**", "2", "!=", "z"]),
        ("Title\n*****\n-----", ["title"]),
        ("C++ and C#", ["c++", "c", "and", "c#", "c"]),
        ("don't re-use v3.11", ["don't", "don", "t", "re-use", "re", "use", "v3.11", "v3", "11"]),
        ("我们学习Python语言", ["我们", "学习", "python", "语言"]),
        ("中华人民共和国", ["中华", "华人", "人民", "共和", "共和国", "中华人民共和国"]),
        ("", []),
        ("?!。，", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert lexical_tokens(text) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Why do my assert checks vanish?", ["do", "assert", "checks", "vanish"]),
        ("What is the difference between `is` and `==`?", ["is", "difference", "between", "is", "and", "=="]),
        ("请问如何安装软件？", ["安装", "软件"]),
        ("为什么？", ["什么", "为什么"]),
        ("why", ["why"]),
    ],
)
def test_words_that_only_ask_are_left_out_of_queries(query: str, expected: list[str]) -> None:
    assert query_words(query) == expected
