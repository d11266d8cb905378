"""A small bilingual corpus that the tests learn from: sentences put together from a few words, in a fixed order."""

from random import Random

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

__all__ = ["TEXTS", "tiny_byte_level"]

_ENGLISH = "the reader opens a file and writes every second line into the other shard before 3 or 42 wait"
_CHINESE = ["读取", "文件", "系统", "每一行", "内容", "写入", "分片", "之后", "管理员", "检查", "服务器", "配置"]
_random = Random(7)


def _document() -> str:
    """Some sentences of both languages, with numbers, line feeds and a little code."""
    english = " ".join(_random.choices(_ENGLISH.split(), k=12)).capitalize() + "."
    chinese = "".join(_random.choices(_CHINESE, k=9)) + "，" + "".join(_random.choices(_CHINESE, k=4)) + "。"
    code = f"\n\tdef f{_random.randrange(100)}(x):\n        return x + {_random.randrange(1000)}\n"
    return f"{english} {chinese}{code if _random.random() < 0.3 else ''}"


TEXTS = [_document() for _ in range(400)]


def tiny_byte_level() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer that has seen English only; its control token has the last id."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevelDecoder()
    english = [text.encode("ascii", "ignore").decode() for text in TEXTS]
    alphabet = ByteLevel.alphabet()
    backend.train_from_iterator(
        english, BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False, special_tokens=[])
    )
    backend.add_special_tokens(["<|end|>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", chat_template="{{ messages }}")
