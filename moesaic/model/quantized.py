"""Quantization schemes: which matrices each one touches, and how the result is stored and read back.

The format is compressed-tensors as vLLM 0.32 loads it (`M` stands for a matrix such as `model.layers.0.mlp.up_proj`, O
for its output rows, I for its inputs, S for the group size):

    int8, int8-experts   M.weight int8 [O, I], M.weight_scale bf16 [O, 1]                      "int-quantized"
    int4                 M.weight_packed int32 [O, I/8], M.weight_scale bf16 [O, I/S],
                         M.weight_shape int64 [2]                                              "pack-quantized"

Never quantized: router and coefficients (`mlp.gate`), norms, embeddings, head, biases. A name that looks like a matrix
but has no known place is refused, so that no matrix is skipped silently.

This module is the entrance: rounding and packing live in `int8.py` and `int4.py`, reading in `quantized_reader.py`.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from moesaic.errors import SchemeError
from moesaic.model.int4 import GROUP_SIZE, dequantize_int4, pack_int4, quantize_int4, round_int4, unpack_int4
from moesaic.model.int8 import dequantize_int8, fake_quantize_activations, quantize_int8
from moesaic.model.quantized_reader import QuantizedReader
from moesaic.model.weight_format import INT_QUANTIZED, PACK_QUANTIZED, WeightFormat

__all__ = [
    "GROUP_SIZE",
    "QuantizedReader",
    "Scheme",
    "WeightFormat",
    "dequantize_int4",
    "dequantize_int8",
    "fake_quantize_activations",
    "matrices_to_quantize",
    "pack_int4",
    "parse_scheme",
    "quantization_config",
    "quantize_int4",
    "quantize_int8",
    "round_int4",
    "unpack_int4",
    "weight_format",
]

_ATTENTION = re.compile(r"model\.layers\.\d+\.self_attn\.[qkvo]_proj\.weight")
_FEED_FORWARD = re.compile(r"model\.layers\.\d+\.mlp\.(experts\.\d+\.)?(gate|up|down)_proj\.weight")
_LIKE_A_MATRIX = re.compile(r".*_proj(\.weight)?|.*\.experts\..*")
_QUANTIZED_ALREADY = (".weight_scale", ".weight_packed", ".weight_zero_point", ".qweight", ".absmax")

_IGNORED = ("lm_head", r"re:.*mlp\.gate$")
_IGNORED_ATTENTION = r"re:.*self_attn.*"


class Scheme(StrEnum):
    """What to quantize, and to how many bits."""

    INT8 = "int8"
    """Every projection (attention, dense feed-forward, experts): 8-bit weights, 8-bit activations."""
    INT8_EXPERTS = "int8-experts"
    """Feed-forward matrices, dense and experts: 8-bit weights, 8-bit activations. Attention keeps its precision."""
    INT4 = "int4"
    """Feed-forward matrices, dense and experts: 4-bit weights in groups. Attention keeps its precision."""


def parse_scheme(text: str) -> Scheme:
    """The scheme of that name; SchemeError lists the known ones."""
    try:
        return Scheme(text)
    except ValueError:
        raise SchemeError(f"scheme={text!r} is unknown; choose one of {', '.join(Scheme)}") from None


def matrices_to_quantize(scheme: Scheme, names: Iterable[str]) -> list[str]:
    """The matrices that a scheme quantizes, without `.weight`, sorted; e.g. `model.layers.1.mlp.experts.4.up_proj`.

    Raises:
        SchemeError: the model is quantized already, a matrix has no known place, or there is nothing to quantize.
    """
    chosen: list[str] = []
    for name in names:
        if name.endswith(_QUANTIZED_ALREADY):
            raise SchemeError(f"{name}: the model is quantized already; quantize its full-precision parent")
        attention, feed_forward = _ATTENTION.fullmatch(name), _FEED_FORWARD.fullmatch(name)
        if feed_forward or (attention and scheme is Scheme.INT8):
            chosen.append(name.removesuffix(".weight"))
        elif not attention and _LIKE_A_MATRIX.fullmatch(name):
            raise SchemeError(
                f"{name}: no scheme knows this matrix; expected model.layers.N.self_attn.{{q,k,v,o}}_proj.weight or "
                "model.layers.N.mlp.[experts.E.]{gate,up,down}_proj.weight. Convert the model to an artifact first"
            )
    if not chosen:
        raise SchemeError(f"scheme={scheme.value!r} finds no matrix in this model; choose another model or scheme")
    return sorted(chosen)


def weight_format(scheme: Scheme, *, group_size: int = GROUP_SIZE) -> WeightFormat:
    """How a scheme stores its matrices; `group_size` matters for int4 alone."""
    ignore = _IGNORED if scheme is Scheme.INT8 else (*_IGNORED, _IGNORED_ATTENTION)
    if scheme is Scheme.INT4:
        return WeightFormat(
            format=PACK_QUANTIZED, weight_bits=4, activation_bits=None, group_size=group_size, ignore=ignore
        )
    return WeightFormat(format=INT_QUANTIZED, weight_bits=8, activation_bits=8, group_size=None, ignore=ignore)


def quantization_config(scheme: Scheme, *, group_size: int = GROUP_SIZE) -> dict[str, Any]:
    """The `quantization_config` entry of config.json for a model quantized by this scheme."""
    return weight_format(scheme, group_size=group_size).config()
