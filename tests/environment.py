"""The variables that tests run under, so that they do not depend on the machine or on who started them."""

import os

__all__ = ["clean_environment"]

_FIXED_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Without it vLLM asks a socket for the address of the outside interface.
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
    # What the command prints must not depend on the terminal that the tests were started from.
    "COLUMNS": "120",
    "NO_COLOR": "1",
    "TERM": "dumb",
}
_REMOVED_VARIABLES = ("CLICOLOR_FORCE", "FORCE_COLOR", "HF_TOKEN", "MATPLOTLIBRC", "PYTHONWARNINGS", "SSLKEYLOGFILE")
_REMOVED_PREFIXES = ("MOESAIC_", "HF_HUB_CACHE", "TRANSFORMERS_")
_REMOVED_SUFFIXES = ("_PROXY", "_proxy")


def clean_environment(environment: dict[str, str], cache_folder: str, *, gpu: bool = False) -> dict[str, str]:
    """Return `environment` without what would make tests differ between machines, and with caches in `cache_folder`.

    Only tests that are about GPUs see one.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _REMOVED_VARIABLES
        and not name.startswith(_REMOVED_PREFIXES)
        and not name.endswith(_REMOVED_SUFFIXES)
    }
    if not gpu:
        kept["CUDA_VISIBLE_DEVICES"] = ""
    # matplotlib would look for settings in the home folder, where others may stand, or nothing may be written.
    folders = {"XDG_CACHE_HOME": cache_folder, "MPLCONFIGDIR": os.path.join(cache_folder, "matplotlib")}
    folders["HF_HOME"] = os.path.join(cache_folder, "hub")
    return kept | _FIXED_ENVIRONMENT | folders
