"""One spelling for the addresses that lead to one page."""

import re

import httpx
from idna import IDNAError

__all__ = ["canonical_url", "page_key"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(
    r"(?i)(?:utm_\w*|(?:dcl|fbcl|gcl|mscl|ttcl|twcl|ycl)(?:id|src)|[gw]braid|_ga|_gl|_hs(?:enc|mi)|mc_[ce]id|igshid|igsh"
    r"|mkt_tok|oly_(?:anon|enc)_id|ref_src|ref_url|s_cid|spm|vero_id|wt\.mc_id|yclid|_openstat|share_source|from_spmid"
    r"|scm|srsltid)"
)
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def canonical_url(url: str) -> str:
    """The address without what does not choose the page.

    Gone are the fragment, parameters that only track readers, default ports, the dot at the end of a host, slashes at
    the end of a path, and the order of parameters; hosts are in ASCII, escapes in one spelling (RFC 3986, section 6).
    An address of another scheme, or none at all, is given back as it is.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii").removesuffix(".")
    except (httpx.InvalidURL, IDNAError, ValueError):
        return url

    if parsed.scheme not in _DEFAULT_PORTS or not host:
        return url

    path, _, query = parsed.raw_path.decode("ascii").partition("?")
    kept = sorted(
        (part for part in map(_spelt, query.split("&")) if part and not _TRACKING.fullmatch(part.partition("=")[0])),
        key=lambda part: part.partition("=")[0],
    )
    port = "" if parsed.port in (None, _DEFAULT_PORTS[parsed.scheme]) else f":{parsed.port}"
    shown_host = f"[{host}]" if ":" in host else host
    asked = "?" + "&".join(kept) if kept else ""
    return f"{parsed.scheme}://{shown_host}{port}{_spelt(path).rstrip('/') or '/'}{asked}"


def page_key(url: str) -> str:
    """What all addresses of one page share, with and without TLS and `www.`: to compare by, not to fetch."""
    canonical = canonical_url(url)
    scheme, separator, rest = canonical.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return canonical
    return rest.removeprefix("www.")


def _spelt(text: str) -> str:
    def spelling(escape: re.Match[str]) -> str:
        character = chr(int(escape[1], 16))
        return character if character in _UNRESERVED else f"%{escape[1].upper()}"

    return _ESCAPE.sub(spelling, text)
