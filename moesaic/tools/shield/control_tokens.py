"""Control tokens of chat templates: the patterns of the families in use, and those of one tokenizer.

A tokenizer that reads `<|im_end|>` in a document gives the model a real end of turn. So nothing of these forms may
stand in text that somebody else wrote, however it is spelt (`moesaic.tools.shield.look_alikes`).
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moesaic.errors import TokenizerError

__all__ = ["CONTROL_TOKEN", "control_tokens_of", "literal_pattern", "template_tokens"]

_NAMED = (
    "im_?start|im_?end|im_?sep|end_?of_?text|start_?of_?text|begin_?of_?text|eot_?id|eom_?id|start_?header_?id"
    "|end_?header_?id|begin ?_?of ?_?sentence|end ?_?of ?_?sentence|system|user|assistant|tool|observation|end|bos|eos"
    "|pad|call|channel|message|return|constrain|python_?tag|tool ?_?calls? ?_?(?:begin|end)|endofprompt"
)
_ANGLE = (
    "s|/s|bos|eos|unk|pad|mask|cls|sep|sop|eop|eoh|eoa|eom|eot|gmask|start_of_turn|end_of_turn|start_of_image|end_of_image"
    r"|image_soft_token|fim_(?:prefix|middle|suffix|pad)|file_sep|repo_name|endoftext|reserved_\d+|unused_?\d+|extra_id_\d+"
    r"|/?think|/?tool_(?:call|calls|response|result|results|code|output)|/?function_(?:call|calls|results?|response)"
    r"|/?tools|/?invoke(?:\s[^<>]{0,200})?|/?function(?:=[^<>]{0,200})?|function\s+name=[^<>]{0,200}|/?(?:antml|anthropic):[^<>]{1,200}"
    r"|parameter(?:=|\s+name=)[^<>]{0,200}|/?seed:[a-z_]{1,40}|/?arg_(?:key|value)"
)
_SQUARE = (
    "/?INST|/?SYS|/?AVAILABLE_TOOLS|TOOL_CALLS|/?TOOL_RESULTS|/?TOOL_CONTENT|/?SYSTEM_PROMPT|/?THINK|ARGS|CALL_ID|PREFIX"
    "|MIDDLE|SUFFIX|BOS|EOS|CLS|SEP|MASK|PAD|UNK|gMASK|sMASK|IMG|IMG_BREAK|IMG_END"
)
CONTROL_TOKEN = re.compile(
    rf"<\|[\w./:=▁-]{{1,80}}\|>"  # ChatML, Llama 3, Qwen, Phi, GLM, Command, harmony, and DeepSeek once folded
    rf"|<\s{{0,3}}\|\s{{0,3}}(?:{_NAMED})\s{{0,3}}\|\s{{0,3}}>"
    rf"|<\s{{0,2}}(?:{_ANGLE})\s{{0,2}}/?>"  # SentencePiece models, Gemma, tags around calls and thoughts
    rf"|\[\s{{0,2}}(?-i:{_SQUARE})\s{{0,2}}\]"  # Mistral, Llama 2, BERT; [args] of a usage line stays
    r"|<<\s{0,2}/?SYS\s{0,2}>>",
    re.IGNORECASE,
)
"""A control token in folded text."""

_TEMPLATE_TOKEN = re.compile(r"<[|｜][^<>\n]{1,80}[|｜]>|<<?/?[A-Za-z_]{1,40}>>?|\[/?[A-Z_]{2,40}\]")
_WORD = re.compile(r"\w+")
_MOST_BYTES = 200_000_000


def control_tokens_of(folder: str | Path) -> frozenset[str]:
    """The special tokens of a tokenizer's folder, and what its chat template writes around turns.

    Raises:
        TokenizerError: there is no tokenizer, or its files cannot be read.
    """
    root = Path(folder)
    found: set[str] = set()
    vocabulary = _json(root / "tokenizer.json")
    settings = _json(root / "tokenizer_config.json")
    if vocabulary is None and settings is None:
        raise TokenizerError(f"{root} has neither tokenizer.json nor tokenizer_config.json: give a tokenizer's folder")
    for token in (vocabulary or {}).get("added_tokens", ()):
        if token.get("special", True):
            found.add(str(token.get("content", "")))
    for token in (settings or {}).get("added_tokens_decoder", {}).values():
        found.add(str(token.get("content", "")))
    templates = [(settings or {}).get("chat_template")]
    template_file = root / "chat_template.jinja"
    if template_file.is_file():
        templates.append(template_file.read_text(encoding="utf-8", errors="replace"))
    for template in templates:
        parts = template if isinstance(template, list) else [{"template": template}]
        for part in parts:
            found |= template_tokens(str(part.get("template") or ""))
    return frozenset(token for token in found if _is_no_word(token))


def template_tokens(template: str) -> frozenset[str]:
    """What a chat template writes that looks like a control token."""
    return frozenset(_TEMPLATE_TOKEN.findall(template))


def literal_pattern(tokens: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern of exactly these tokens, in folded text; None if there are none."""
    escaped = sorted((re.escape(token) for token in tokens if _is_no_word(token)), key=len, reverse=True)
    return re.compile("|".join(escaped), re.IGNORECASE) if escaped else None


def _is_no_word(token: str) -> bool:
    """Whether a token could not stand in ordinary text: a space or a word of the vocabulary is left alone."""
    return len(token.strip()) >= 3 and not _WORD.fullmatch(token.strip())


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES} bytes")
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{path} cannot be read ({error}): restore the tokenizer's files") from error
    return read
