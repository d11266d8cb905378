"""Pages of the web, fetched so that they cannot be turned against this network, and read as text.

    from moesaic.tools.page import PageFetcher

    with PageFetcher() as fetcher:
        page = fetcher.fetch("https://example.org/article")     # or: await fetcher.afetch(...)
        page.title, page.text, page.final_url, page.sha256

    PageFetcher ── redirects, robots.txt, pace per host
      └─ GuardedTransport ── name → addresses → AddressPolicy → connection to exactly the checked address
           └─ ReadingProcess ── bytes → text, in a process of its own that can be killed

Everything that goes over HTTP on behalf of a model passes `exchange`, which bounds bytes and seconds; the search
engines of `moesaic.tools.search` use it too. Importing this package loads nothing; a name loads its module when it is
first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from moesaic.errors import MissingDependencyError

if TYPE_CHECKING:
    from moesaic.tools.page.address_policy import AddressPolicy
    from moesaic.tools.page.budget import SearchBudget
    from moesaic.tools.page.fetch_options import FetchOptions
    from moesaic.tools.page.fetcher import PageFetcher
    from moesaic.tools.page.guarded_transport import GuardedTransport
    from moesaic.tools.page.page import Page
    from moesaic.tools.page.recording import Recording
    from moesaic.tools.page.resolver import Resolver, ScriptedResolver, SystemResolver

__all__ = [
    "AddressPolicy",
    "FetchOptions",
    "GuardedTransport",
    "Page",
    "PageFetcher",
    "Recording",
    "Resolver",
    "ScriptedResolver",
    "SearchBudget",
    "SystemResolver",
]

_MODULES = {
    "address_policy": ("AddressPolicy",),
    "budget": ("SearchBudget",),
    "fetch_options": ("FetchOptions",),
    "fetcher": ("PageFetcher",),
    "guarded_transport": ("GuardedTransport",),
    "page": ("Page",),
    "recording": ("Recording",),
    "resolver": ("Resolver", "ScriptedResolver", "SystemResolver"),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    try:
        value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"fetching pages needs {error.name}, which is not installed: pip install 'moesaic[tools]'"
        ) from error

    globals()[name] = value
    return value
