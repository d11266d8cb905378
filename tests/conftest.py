"""What holds for every test: no network beyond this machine, a known environment, bounded property tests.

- The guard and the environment are in force before any test module is imported, so that neither collection nor a
  session-wide fixture slips past them.
- Child processes do not inherit the guard, only the environment: it switches hub access off there too.
"""

import os
import socket
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.environment import clean_environment
from tests.network import LoopbackOnly

ENGINE_TIMEOUT_S = 600
"""Longest time of one engine test: the first of them also waits for the engine to load."""

# No deadline per example: the machine may be shared. `thorough` is for a night, or for hunting one failure.
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_guard = LoopbackOnly()
_cache_folder = tempfile.TemporaryDirectory(prefix="moesaic-tests-", ignore_cleanup_errors=True)


def pytest_configure() -> None:
    """Close the outside world before anything is imported."""
    environment = clean_environment(dict(os.environ), _cache_folder.name)
    os.environ.clear()
    os.environ.update(environment)
    _guard.install()


def pytest_unconfigure() -> None:
    """Open it again; the process may go on after the tests."""
    _guard.remove()
    _cache_folder.cleanup()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give engine tests time to load a model, unless they say how long they need."""
    for item in items:
        if item.get_closest_marker("engine") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(ENGINE_TIMEOUT_S))


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fail a test that took the guard away, or that left a default timeout behind on every later socket."""
    yield
    assert _guard.installed, "the test replaced socket.socket.connect: patch the client, not the socket"
    assert socket.getdefaulttimeout() is None, "the test changed the default timeout of all sockets"
