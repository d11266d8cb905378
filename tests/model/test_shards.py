"""Streaming safetensors: what is written loads elsewhere, what is damaged is refused by file and tensor."""

import json
import resource
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from moesaic.errors import DamagedArtifactError, InputError
from moesaic.model.shards import INDEX_NAME, ShardReader, ShardWriter, TensorSpec
from tests.model.pyramid_checkpoint import pyramid_tensors, save_sharded

ELEMENT_TYPES = [torch.float32, torch.bfloat16, torch.int8, torch.int64, torch.uint8, torch.bool, torch.float16]


def same_bytes(left: torch.Tensor, right: torch.Tensor) -> bool:
    def flat(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.contiguous().reshape(-1).view(torch.uint8)

    return (left.dtype, left.shape) == (right.dtype, right.shape) and torch.equal(flat(left), flat(right))


def write_all(folder: Path, tensors: dict[str, torch.Tensor], **options: int) -> None:
    with ShardWriter(folder, **options) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(ELEMENT_TYPES), st.lists(st.integers(0, 5), max_size=3)), min_size=1, max_size=12
    ),
    max_shard_bytes=st.sampled_from([1, 64, 10**6]),
    seed=st.integers(0, 2**16),
)
def test_every_mix_of_types_and_shapes_loads_with_the_reference_implementation(
    kinds: list[tuple[torch.dtype, list[int]]], max_shard_bytes: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"张量.{number}": torch.randint(0, 2, shape, generator=generator).to(dtype)
        for number, (dtype, shape) in enumerate(kinds)
    }
    with tempfile.TemporaryDirectory() as folder:
        write_all(Path(folder), tensors, max_shard_bytes=max_shard_bytes, header_bytes=4096)
        found: dict[str, torch.Tensor] = {}
        for path in Path(folder).glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                assert file.metadata() == {"format": "pt"}
                found |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        with ShardReader(folder) as reader:
            assert reader.names == sorted(tensors) == sorted(found)
            for name, tensor in tensors.items():
                assert reader.spec(name) == TensorSpec(tensor.dtype, tuple(tensor.shape))
                assert same_bytes(reader.read(name), tensor)
                assert same_bytes(found[name], tensor)


def test_a_stock_model_loads_from_our_shards(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    config.save_pretrained(tmp_path)
    write_all(tmp_path, dict(model.state_dict()), max_shard_bytes=20_000)
    assert len(list(tmp_path.glob("model-0000?-of-0000?.safetensors"))) > 2
    loaded, report = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_shards_respect_the_limit_and_the_index_counts_right(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.full((100,), float(number)) for number in range(10)}
    tensors["big"] = torch.ones(1000)
    write_all(tmp_path, tensors, max_shard_bytes=900, header_bytes=4096)
    index = json.loads((tmp_path / INDEX_NAME).read_text())
    assert index["metadata"]["total_size"] == 10 * 400 + 4000
    sizes = {path.name: path.stat().st_size - 4096 for path in tmp_path.glob("*.safetensors")}
    assert sorted(sizes.values()) == [800, 800, 800, 800, 800, 4000]
    assert set(index["weight_map"].values()) == set(sizes)
    assert ShardReader(tmp_path).largest_shard_bytes == 4096 + 4000


def test_a_full_header_begins_the_next_shard(tmp_path: Path) -> None:
    tensors = {f"model.layers.{number}.weight": torch.tensor([float(number), 0.0]) for number in range(100)}
    write_all(tmp_path, tensors, header_bytes=4096)
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    reader = ShardReader(tmp_path)
    assert all(torch.equal(reader.read(name), tensor) for name, tensor in tensors.items())


def test_a_single_file_has_the_plain_name_and_no_index(tmp_path: Path) -> None:
    strided = torch.arange(12.0).reshape(3, 4).T
    write_all(tmp_path, {"w": strided})
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert torch.equal(ShardReader(tmp_path).read("w"), strided)


def test_a_read_tensor_owns_its_memory(tmp_path: Path) -> None:
    write_all(tmp_path, {"w": torch.ones(4)})
    reader = ShardReader(tmp_path)
    reader.read("w").zero_()
    assert torch.equal(reader.read("w"), torch.ones(4))


def test_a_waiting_tensor_is_not_changed_by_its_caller(tmp_path: Path) -> None:
    bias = torch.ones(3)  # 12 bytes: waits for the end of the shard
    with ShardWriter(tmp_path) as writer:
        writer.write("bias", bias)
        bias.zero_()
    assert torch.equal(ShardReader(tmp_path).read("bias"), torch.ones(3))


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path, max_shard_bytes=1) as writer:
            writer.write("a", torch.ones(8))
            writer.write("b", torch.ones(8))
            assert [path.suffix for path in tmp_path.iterdir()] == [".partial", ".partial"]
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_comes_out_as_an_os_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, hard))
    try:
        with pytest.raises(OSError, match="large"):
            write_all(tmp_path, {"small": torch.ones(8), "large": torch.ones(2**20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_refusals_of_the_writer(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.write("w", torch.ones(2))
        with pytest.raises(InputError, match="tensor w: written already"):
            writer.write("w", torch.ones(2))
        with pytest.raises(InputError, match="__metadata__"):
            writer.write("__metadata__", torch.ones(2))
        with pytest.raises(InputError, match=r"tensor c: torch\.complex64 cannot be stored"):
            writer.write("c", torch.ones(2, dtype=torch.complex64))
        with pytest.raises(InputError, match="does not fit into the header"):
            writer.write("x" * 2**20, torch.ones(2))
    with pytest.raises(InputError, match=r"already holds model\.safetensors"):
        ShardWriter(tmp_path)
    with pytest.raises(InputError, match="the writer is closed"):
        writer.write("v", torch.ones(2))


def test_a_model_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tensor was written"), ShardWriter(tmp_path):
        pass
    with pytest.raises(InputError, match="max_shard_bytes=0"):
        ShardWriter(tmp_path, max_shard_bytes=0)


def test_reads_foreign_shards(tmp_path: Path) -> None:
    tensors = pyramid_tensors()
    save_sharded(tmp_path, tensors)
    with ShardReader(tmp_path) as reader:
        assert reader.names == sorted(tensors)
        assert all(same_bytes(reader.read(name), tensor) for name, tensor in tensors.items())
        with pytest.raises(DamagedArtifactError, match=r"there is no tensor model\.layers\.9"):
            reader.read("model.layers.9")


def test_damaged_shards_are_refused_by_file_and_tensor(tmp_path: Path) -> None:
    save_sharded(tmp_path, pyramid_tensors())
    second = tmp_path / "model-00002-of-00003.safetensors"
    content = second.read_bytes()

    second.unlink()
    with pytest.raises(DamagedArtifactError, match=r"model-00002-of-00003\.safetensors: the file is missing"):
        ShardReader(tmp_path)
    second.write_bytes(content[:-1])
    with pytest.raises(DamagedArtifactError, match=r"model-00002-of-00003\.safetensors: tensor .* truncated"):
        ShardReader(tmp_path)
    second.write_bytes(content[:8] + b"X" + content[9:])
    with pytest.raises(DamagedArtifactError, match=r"model-00002-of-00003\.safetensors: the header is not JSON"):
        ShardReader(tmp_path)

    second.write_bytes(content)
    reader = ShardReader(tmp_path)
    name = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).popitem()[0]
    second.write_bytes(content[: len(content) // 8])  # cut after the headers were read
    with pytest.raises(DamagedArtifactError, match=f"model-00002-of-00003.*tensor {name} lacks its last"):
        reader.read(name)
    second.unlink()
    with pytest.raises(DamagedArtifactError, match=f"tensor {name} cannot be read"):
        reader.read(name)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{", "not a safetensors index"),
        ("[]", "not a safetensors index"),
        ("{}", "not a safetensors index"),
        ('{"weight_map": {}}', "lists no tensor"),
        ('{"weight_map": {"a": 3}}', "tensor a lies in 3"),
        ('{"weight_map": {"a": "../model-1.safetensors"}}', "tensor a lies in"),
        ('{"weight_map": {"a": "model-1.bin"}}', "tensor a lies in"),
        ('{"weight_map": {"a": "model-9.safetensors"}}', "model-9.safetensors: the file is missing"),
        ('{"weight_map": {"a": "model-1.safetensors", "absent": "model-1.safetensors"}}', "tensor absent is not in"),
        ('{"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}', "tensor b is not in"),
        ('{"weight_map": {"a": "model-1.safetensors", "b": "model-3.safetensors"}}', "tensor a lies in model-1"),
    ],
)
def test_indices_that_do_not_fit_are_refused(tmp_path: Path, index: str, message: str) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-1.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "model-2.safetensors")
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "model-3.safetensors")
    (tmp_path / INDEX_NAME).write_text(index)
    with pytest.raises(DamagedArtifactError, match=message):
        ShardReader(tmp_path)


def test_a_folder_has_one_kind_of_weights(tmp_path: Path) -> None:
    with pytest.raises(DamagedArtifactError, match="neither a single file nor an index"):
        ShardReader(tmp_path)
    save_sharded(tmp_path, {"a": torch.ones(2)}, shards=1)
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(DamagedArtifactError, match="both a single file and an index"):
        ShardReader(tmp_path)
