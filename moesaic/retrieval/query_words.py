"""The words of a question that say what it is about.

A manual never says `my` or `why`: a rank by words would take such rare words of a question for its most telling ones,
so they are left out of queries (never out of the index). Words that also name things, in code or in general, stay.
"""

from moesaic.retrieval.lexical_tokens import lexical_tokens

__all__ = ["query_words"]

_ENGLISH = (
    "i me my mine we us our ours you your yours what which who whom whose how why when where does did doing done can "
    "could would should shall will may might must there here its these those am are was were be been being had a an "
    "the of please tell"
)
_CHINESE = (
    "什么 怎么 怎样 如何 为什么 为何 吗 呢 吧 啊 的 了 是 哪 哪个 哪些 哪里 谁 多少 "
    "我 你 他 她 它 我们 你们 他们 请问 请"
)
_LEFT_OUT = frozenset(f"{_ENGLISH} {_CHINESE}".split())


def query_words(query: str) -> list[str]:
    """Tokens of a query without question words and pronouns; all of them if there are no others."""
    tokens = lexical_tokens(query)
    return [token for token in tokens if token not in _LEFT_OUT] or tokens
