"""The tokenizer of a base model as files of an artifact: tokenizer.json, tokenizer_config.json, generation_config.json.

- What is written loads by `AutoTokenizer` beside any config.json: it names the generic fast class, so that
  tokenizer.json alone decides. (Model-specific classes of transformers 5 rebuild their own splitting rules and ignore
  those of the file.)
- The chat template goes into tokenizer_config.json and has to render one user message before anything is written.
- generation_config.json lists every token that ends a turn, not only the declared one: a served chat model that is
  asked to complete plain text stops with its end-of-text token as well.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from moesaic.errors import TokenizerError

__all__ = ["END_TOKENS", "check_vocabulary", "load_tokenizer", "write_tokenizer_files"]

END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>", "<|end|>")
"""Control tokens that end a turn or a text in the chat formats of the supported families."""

_SLOW_FILES = ("tokenizer.model", "vocab.json")


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a Hugging Face model folder.

    tokenizer.json is taken as it stands; a folder that has only tokenizer.model, or vocab.json with merges.txt, is
    converted by the model family's own class. Raises `TokenizerError` if there is neither or it can't be read.
    """
    fast = (folder / "tokenizer.json").is_file()
    if not fast and not any((folder / name).is_file() for name in _SLOW_FILES):
        raise TokenizerError(
            f"{folder} has no tokenizer: put tokenizer.json and tokenizer_config.json there "
            f"(or the older {' or '.join(_SLOW_FILES)})"
        )
    loader = PreTrainedTokenizerFast if fast else AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare Exception for a file that it can't parse
        raise TokenizerError(f"the tokenizer of {folder} can't be loaded ({error}): fetch its files again") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TokenizerError(f"{folder} gives a {type(tokenizer).__name__}: give a tokenizer with a tokenizer.json")
    return tokenizer


def check_vocabulary(highest_id: int, rows: int, where: str) -> None:
    """Raise `TokenizerError` if a token's id has no row in the embedding (more rows than tokens are padding)."""
    if highest_id >= rows:
        raise TokenizerError(
            f"the tokenizer of {where} has ids up to {highest_id}, its embedding rows 0 to {rows - 1}: "
            "the tokenizer belongs to another model; use the one that was saved with these weights"
        )


def write_tokenizer_files(
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    config: Mapping[str, Any],
    generation: Mapping[str, Any] | None = None,
    where: str,
) -> None:
    """Write the tokenizer and generation_config.json into a folder that exists.

    `config` is the model's checked configuration, `generation` the base's own generation settings, `where` its name in
    messages. Raises `TokenizerError` if the tokenizer doesn't fit the weights or its chat template is broken.
    """
    check_vocabulary(max(tokenizer.get_vocab().values(), default=-1), config["vocab_size"], where)
    _check_chat_template(tokenizer, where)
    tokenizer.save_pretrained(str(folder), save_jinja_files=False)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name in ("auto_map", "is_local", "local_files_only", "trust_remote_code"):
        settings.pop(name, None)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "generation_config.json", _generation_config(tokenizer, config, generation or {}))


def _generation_config(
    tokenizer: PreTrainedTokenizerFast, config: Mapping[str, Any], generation: Mapping[str, Any]
) -> dict[str, Any]:
    """The base's own settings, with special ids filled in and every end token listed (the declared ones first)."""
    result = dict(generation)
    added = tokenizer.get_added_vocab()
    ends: list[int] = []
    for declared in (generation.get("eos_token_id"), config.get("eos_token_id"), tokenizer.eos_token_id):
        ends += declared if isinstance(declared, list) else [declared] if declared is not None else []
    ends += [added[token] for token in END_TOKENS if token in added]
    result["eos_token_id"] = list(dict.fromkeys(ends)) or None
    for name in ("bos_token_id", "pad_token_id"):
        if result.get(name) is None:
            stated = config.get(name)
            result[name] = getattr(tokenizer, name) if stated is None else stated
    return {name: value for name, value in result.items() if value is not None}


def _check_chat_template(tokenizer: PreTrainedTokenizerFast, where: str) -> None:
    """Render one user message; a base without a chat template is fine."""
    if tokenizer.chat_template is None:
        return
    try:
        tokenizer.apply_chat_template([{"role": "user", "content": "你好"}], tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"the chat template of {where} fails on a single user message ({error}): correct it in the base's files"
        ) from error


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
