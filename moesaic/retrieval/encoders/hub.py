"""Encoders from the Hugging Face hub: the files of a sentence-transformers folder, through the hub's own cache."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from moesaic.errors import InputError

__all__ = ["ENCODER_FILES", "fetch_encoder"]

ENCODER_FILES = (
    "*.json",
    "*/config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "*/model.safetensors",
    "vocab.txt",
    "merges.txt",
    "*.model",
    "LICENSE*",
)
"""Patterns of the files that are fetched; other formats of the same weights stay where they are."""


def fetch_encoder(repository: str) -> Path:
    """Folder with the files of an encoder, downloaded if the cache lacks them.

    Raises:
        InputError: there is no such model, it is gated, or it could not be fetched.
    """
    try:
        return Path(snapshot_download(repository, allow_patterns=list(ENCODER_FILES)))
    except GatedRepoError as error:
        raise InputError(f"{repository} is gated: accept its terms on its page, then log in (hf auth login)") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"the hub has no model {repository}, and there is no such folder here") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"{repository} is neither a folder here nor in the hub's cache, and the hub can't be reached: connect and "
            "try again, or give its folder or package:NAME"
        ) from error
    except Exception as error:  # the HTTP library below the hub's client has errors of its own, under changing names
        raise InputError(
            f"{repository} could not be fetched ({type(error).__name__}: {error}): try again, what has arrived is kept"
        ) from error
