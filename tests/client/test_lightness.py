"""The client is light: what it loads, and that gRPC comes only with the first client."""

import json
import subprocess
import sys

import pytest

from tests.repository import ROOT

HEAVY = {"torch", "numpy", "transformers", "vllm", "langchain_core", "pydantic", "rich", "typer"}


def modules_after(statement: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "statement", ["import moesaic.client", "from moesaic.client import AsyncClient, Client; Client('127.0.0.1:1')"]
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    loaded = modules_after(statement)
    assert "moesaic.client.protocol" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()


def test_grpc_comes_with_the_first_client() -> None:
    assert "grpc" not in modules_after("import moesaic.client")
    assert "grpc.aio" in modules_after("from moesaic.client import AsyncClient")


def test_what_is_not_there_is_not_found() -> None:
    import moesaic.client

    with pytest.raises(AttributeError, match="Connexion"):
        moesaic.client.Connexion  # noqa: B018
