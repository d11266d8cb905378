"""What holds for every test: no network beyond this machine, a known environment, bounded property tests.

- The guard and the environment are in force before any test module is imported, so that neither collection nor a
  session-wide fixture slips past them.
- Child processes do not inherit the guard, only the environment: it switches hub access off there too.
"""

import os
import random
import socket
import sys
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from tests.environment import clean_environment
from tests.network import LoopbackOnly

# No deadline per example: the machine may be shared. `thorough` is for a night, or for hunting one failure.
settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
if settings.get_current_profile_name() == "ci":
    # Hypothesis also draws numbers and texts that it finds in the modules that happen to be loaded: other ones in each
    # worker, and after other tests. What is drawn is to be the same in every run.
    no_constants = Constants()
    providers._get_local_constants = lambda: no_constants

_guard = LoopbackOnly()
_cache_folder = tempfile.TemporaryDirectory(prefix="moesaic-tests-", ignore_cleanup_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--gpu` shows this machine's GPU to the tests; without it all of them compute on the CPU, as in CI."""
    parser.addoption("--gpu", action="store_true", help="let tests see the GPU; for `-m gpu`")


def pytest_configure(config: pytest.Config) -> None:
    """Close the outside world before anything is imported."""
    environment = clean_environment(dict(os.environ), _cache_folder.name, gpu=config.getoption("--gpu"))
    os.environ.clear()
    os.environ.update(environment)
    _guard.install()


def pytest_unconfigure() -> None:
    """Open it again; the process may go on after the tests."""
    _guard.remove()
    _cache_folder.cleanup()


@pytest.fixture(autouse=True)
def known_draws() -> None:
    """The same draws in every run and in every order: what passes once does not fail for an unlucky number later."""
    random.seed(0)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        if name in sys.modules:  # a test of the light core imports neither
            getattr(sys.modules[name], seed)(0)


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[None]:
    """Fail a test that took the guard away, or that left a default timeout behind on every later socket."""
    yield
    assert _guard.installed, "the test replaced socket.socket.connect: patch the client, not the socket"
    assert socket.getdefaulttimeout() is None, "the test changed the default timeout of all sockets"
