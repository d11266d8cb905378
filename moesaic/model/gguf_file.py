"""A dense base model in one GGUF file (llama.cpp's format), read as Hugging Face tensors.

- The file is memory-mapped; `read` dequantizes one tensor, to float32, and nothing else is held.
- Llama files store the rows of q and k so that a rotary pair is adjacent (llama.cpp's converter permutes every model
  marked `llama`); reading undoes that. Qwen2 and Qwen3 files keep the Hugging Face order.
- Names, shapes and number formats are all checked when the file is opened, before anything is written elsewhere.
"""

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize
from transformers import PreTrainedTokenizerFast

from moesaic.errors import DamagedArtifactError, InputError, UnsupportedModelError
from moesaic.model.dense_config import dense_config, dense_shapes
from moesaic.model.gguf_config import gguf_config
from moesaic.model.gguf_tokenizer import build_tokenizer
from moesaic.model.licence import BaseLicence, find_licence_text, spdx_name
from moesaic.model.shards import TensorSpec
from moesaic.model.tokenizer_files import check_vocabulary, write_tokenizer_files

__all__ = ["GGUFBase", "gguf_name", "restore_rotary_rows"]

_MODULES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OUTER = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_FREQUENCIES = "rope_freqs.weight"
_PERMUTED = ("llama",)


def gguf_name(name: str) -> str:
    """Name in a GGUF file of a Hugging Face tensor: `blk.3.attn_q.bias` for `model.layers.3.self_attn.q_proj.bias`."""
    if name in _OUTER:
        return _OUTER[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    module, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_MODULES[module]}.{kind}"


def restore_rotary_rows(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Put the rows of a permuted q or k matrix (or bias) back in Hugging Face order.

    Within a head of h rows, the file has row i beside row i + h/2 (the two that one rotation mixes); Hugging Face
    has all first ones before all second ones. `rows` is [heads * h, ...].
    """
    pairs = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return pairs.swapaxes(1, 2).reshape(rows.shape)


class GGUFBase:
    """A `DenseBase` over a GGUF file; a context manager that holds the file mapped.

    Raises:
        UnsupportedModelError: an architecture, layout or number format that can't be mapped.
        TokenizerError: the file has more tokens than its embedding rows.
        DamagedArtifactError: the file is truncated or unreadable.
    """

    def __init__(self, path: Path, reference: str) -> None:
        self.reference = reference
        self._folder = path.parent
        tensors, self._metadata = _open(path, reference)
        embedding = tensors.get("token_embd.weight")
        if embedding is None:
            raise UnsupportedModelError(f"{reference} has no token_embd.weight: it isn't a language model")
        factors = tensors.get(_FREQUENCIES)
        raw = gguf_config(
            self._metadata,
            vocab_size=int(embedding.shape[-1]),
            tensor_names=list(tensors),
            frequency_factors=None if factors is None else [float(f) for f in np.ravel(factors.data)],
            where=reference,
        )
        self.config = dense_config(raw, reference)
        check_vocabulary(len(self._metadata.get("tokenizer.ggml.tokens", ())) - 1, self.config["vocab_size"], reference)
        self._shapes = dense_shapes(self.config)
        self._sources = _matched(tensors, self._shapes, reference)
        _check_formats(self._sources.values(), reference)

    @property
    def names(self) -> list[str]:
        """Hugging Face names of all tensors, in the order of the forward pass; a tied head is absent."""
        return list(self._shapes)

    @property
    def licence(self) -> BaseLicence:
        """`general.license` of the file, and the text of a licence file beside it."""
        return BaseLicence(spdx_name(self._metadata.get("general.license")), find_licence_text(self._folder))

    def spec(self, name: str) -> TensorSpec:
        """Type (always float32) and shape of a tensor."""
        self._source(name)
        return TensorSpec(torch.float32, self._shapes[name])

    def read(self, name: str) -> torch.Tensor:
        """Dequantize one tensor to float32, with its rows in Hugging Face order."""
        source = self._source(name)
        values = dequantize(source.data, source.tensor_type)
        if self.config["model_type"] in _PERMUTED and ".self_attn.q_proj." in name:
            values = restore_rotary_rows(values, self.config["num_attention_heads"])
        elif self.config["model_type"] in _PERMUTED and ".self_attn.k_proj." in name:
            values = restore_rotary_rows(values, self.config["num_key_value_heads"])
        if np.may_share_memory(values, source.data):  # float32 needs no dequantizing, but has to outlive the mapping
            values = values.copy()
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32).reshape(self._shapes[name]))

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The fast tokenizer that the file describes."""
        tokenizer = build_tokenizer(self._metadata, self.reference)
        tokenizer.model_max_length = self.config["max_position_embeddings"]
        return tokenizer

    def write_tokenizer(self, folder: Path) -> None:
        """Write tokenizer and generation_config.json into an existing folder."""
        write_tokenizer_files(self.tokenizer(), folder, config=self.config, where=self.reference)

    def _source(self, name: str) -> ReaderTensor:
        if (source := self._sources.get(name)) is None:
            state = f"it has {len(self._shapes)} tensors, see names" if self._sources else "it is closed; open it again"
            raise InputError(f"{self.reference} has no tensor {name!r}: {state}")
        return source

    def __enter__(self) -> Self:
        """The base itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the mapping."""
        self._sources = {}


def _open(path: Path, reference: str) -> tuple[dict[str, ReaderTensor], dict[str, Any]]:
    """Tensors by name and metadata as Python values."""
    try:
        reader = GGUFReader(path)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, OSError) as error:
        raise DamagedArtifactError(
            f"{reference} can't be read as a GGUF file ({error}): it is truncated or something else; fetch it again"
        ) from error
    if reader.byte_order == "S":
        raise UnsupportedModelError(f"{reference} has the byte order of another machine: use a little-endian GGUF file")
    if int(metadata.get("split.count", 1)) > 1:
        raise UnsupportedModelError(
            f"{reference} is one of {metadata['split.count']} parts: join them (llama-gguf-split --merge)"
        )
    return {tensor.name: tensor for tensor in reader.tensors}, metadata


def _matched(
    tensors: dict[str, ReaderTensor], shapes: dict[str, tuple[int, ...]], reference: str
) -> dict[str, ReaderTensor]:
    """The file's tensor for every expected name; neither a tensor too few nor one too many is tolerated."""
    sources = {name: gguf_name(name) for name in shapes}
    if missing := [source for source in sources.values() if source not in tensors]:
        raise UnsupportedModelError(
            f"{reference} lacks {len(missing)} of {len(shapes)} tensors, first {missing[0]!r}: use a complete one"
        )
    if extra := sorted(tensors.keys() - set(sources.values()) - {_FREQUENCIES}):
        raise UnsupportedModelError(
            f"{reference} has {len(extra)} tensors that its architecture doesn't know, first {extra[0]!r}: "
            "leaving them out would change the model; use a conversion of the plain model"
        )
    for name, source in sources.items():
        found = tuple(int(size) for size in reversed(tensors[source].shape))
        if found != shapes[name]:
            raise UnsupportedModelError(f"{reference}: {source} has shape {found}, its metadata ask for {shapes[name]}")
    return {name: tensors[source] for name, source in sources.items()}


def _check_formats(tensors: Iterable[ReaderTensor], reference: str) -> None:
    """Dequantize one row of each number format, so that an unknown one shows now and not halfway through."""
    samples: dict[GGMLQuantizationType, ReaderTensor] = {tensor.tensor_type: tensor for tensor in tensors}
    for kind, tensor in samples.items():
        try:
            dequantize(tensor.data[:1], kind)
        except NotImplementedError as error:
            raise UnsupportedModelError(
                f"{reference} stores {tensor.name} as {kind.name}, which has no dequantization: use a conversion to "
                "F16, BF16, Q8_0 or another format without imatrix codebooks"
            ) from error
