"""Base models from the Hugging Face hub: only the files that a dense base consists of, through the hub's own cache."""

import errno
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from moesaic.errors import InputError, StorageError

__all__ = ["HUB_FILES", "fetch_base", "is_hub_id"]

HUB_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "README.md",
    "LICENSE*",
)
"""Patterns of the files that are fetched; other formats of the same weights stay where they are."""

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_OTHER_FORMS = "its folder, a .gguf file or package:NAME"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(reference: str) -> bool:
    """Whether a reference has the form `owner/name`."""
    return _HUB_ID.fullmatch(reference) is not None


def fetch_base(repository: str, revision: str | None = None) -> Path:
    """Folder with the files of a hub model, downloaded if the cache lacks them.

    Raises `InputError` if there is no such model or revision, it is gated, or the hub can't be reached,
    `StorageError` if the cache can't be written.
    """
    named = repository if revision is None else f"{repository} at {revision!r}"
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(HUB_FILES)))
    except GatedRepoError as error:
        raise InputError(
            f"{named} is gated: accept its terms on its page, then log in (hf auth login) and try again"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{repository} has no revision {revision!r}: give a branch, tag or commit of it") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"the hub has no model {named}, and there is no such folder here: check the spelling, "
            "or log in (hf auth login) if it is private"
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"{named} is neither a folder here nor in the hub's cache, and the hub can't be reached: "
            f"connect and try again, or fetch it elsewhere and give {_OTHER_FORMS}"
        ) from error
    except Exception as error:  # the HTTP library below the hub's client has errors of its own, under changing names
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise StorageError(
                f"{named} can't be stored in the hub's cache ({error.strerror}: {error.filename}): make room there, "
                "or set HF_HOME to another place"
            ) from error
        raise InputError(
            f"{named} could not be fetched ({type(error).__name__}: {error}): try again, what has arrived is kept, "
            f"or give {_OTHER_FORMS}"
        ) from error
