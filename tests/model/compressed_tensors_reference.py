"""compressed-tensors as the reference for our packing and rounding.

Importing it makes torch.compile warn about its own deprecated `torch.jit.script_method`, which is none of our business.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
    from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize

__all__ = [
    "PackedQuantizationCompressor",
    "QuantizationArgs",
    "QuantizationConfig",
    "QuantizationScheme",
    "dequantize",
    "pack_to_int32",
    "quantize",
    "unpack_from_int32",
]
