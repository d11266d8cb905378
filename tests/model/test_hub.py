"""Hub ids: what is asked for, and what is said when it can't be had. Nothing here leaves this machine."""

import errno
import fnmatch
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from moesaic.errors import InputError, MoesaicError, StorageError
from moesaic.model import hub
from moesaic.model.hub import HUB_FILES, fetch_base, is_hub_id


@pytest.mark.parametrize("reference", ["owner/name", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b_c.d"])
def test_hub_ids(reference: str) -> None:
    assert is_hub_id(reference)


@pytest.mark.parametrize("reference", ["name", "a/b/c", "./a", "../a/b", "/a/b", "a/", "a/-b", "a b/c", "a/b\n", ""])
def test_other_references(reference: str) -> None:
    assert not is_hub_id(reference)


def test_only_the_files_of_a_dense_base_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert fetch_base("owner/name", "v1") == tmp_path
    assert (asked["repository"], asked["revision"]) == ("owner/name", "v1")
    wanted = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.json", "tokenizer.model", "LICENSE"]
    others = ["pytorch_model.bin", "consolidated.safetensors", "original/model.safetensors", "model.gguf", "my_code.py"]
    fetched = [
        name for name in wanted + others if any(fnmatch.fnmatch(name, pattern) for pattern in asked["allow_patterns"])
    ]
    assert fetched == wanted
    assert asked["allow_patterns"] == list(HUB_FILES)


def test_offline_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The real client, switched off: it looks in its (empty) cache and gives up.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        fetch_base("owner/name")
    message = str(caught.value)
    assert "owner/name is neither a folder here nor in the hub's cache" in message
    assert "connect and try again, or fetch it elsewhere and give its folder, a .gguf file or package:NAME" in message


class LostConnectionError(Exception):
    """Like the errors of the HTTP library below the hub's client: no OSError, and of a class of its own."""


def answer(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
    """An error of the hub's client, without the response that its constructor wants."""
    error = kind.__new__(kind)
    error.args = ("refused",)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (answer(RepositoryNotFoundError), InputError, "no model owner/name at 'v1', and there is no such folder here"),
        (answer(RevisionNotFoundError), InputError, "owner/name has no revision 'v1'"),
        (answer(GatedRepoError), InputError, "is gated: accept its terms"),
        (answer(HfHubHTTPError), InputError, r"could not be fetched \(HfHubHTTPError: refused"),
        (LostConnectionError("cut"), InputError, r"could not be fetched \(LostConnectionError: cut\): try again"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), StorageError, "No space left on device.*make room"),
        (OSError(errno.EIO, "Input/output error"), InputError, "could not be fetched"),
    ],
)
def test_failures_name_the_next_step(
    error: Exception, kind: type[MoesaicError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(repository: str, **options: Any) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(kind, match=message) as caught:
        fetch_base("owner/name", "v1")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
