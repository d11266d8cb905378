"""The whole model: expert backends, cache, checkpointing, router terms, generation."""

import copy

import pytest
import torch

BACKENDS = ("eager", "batched_mm", "grouped_mm")


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_experts_backend_computes_the_same(tiny_model, tokens, backend):
    tiny_model.set_experts_implementation("eager")
    reference = tiny_model(input_ids=tokens).logits
    tiny_model.set_experts_implementation(backend)
    assert all(mixture.experts.config._experts_implementation == backend for mixture in tiny_model.mixtures)
    assert torch.allclose(tiny_model(input_ids=tokens).logits, reference, atol=1e-4)


def gradients(model, tokens, backend):
    model = copy.deepcopy(model).train()
    model.set_experts_implementation(backend)
    model(input_ids=tokens, labels=tokens).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_every_experts_backend_has_the_same_gradients(tiny_model, tokens, backend):
    one_token = tokens[:1, :2]  # leaves experts without a single token
    reference, other = gradients(tiny_model, one_token, "eager"), gradients(tiny_model, one_token, backend)
    assert reference.keys() == other.keys()
    for name in reference:
        assert torch.allclose(reference[name], other[name], atol=1e-4), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_rounds_the_experts_weights(tiny_model, tokens, backend):
    tiny_model.set_experts_implementation(backend)
    experts = tiny_model.mixtures[0].experts
    x, index, weight = torch.randn(9, 64), torch.arange(9)[:, None] % experts.num_experts, torch.ones(9, 1)

    def computed():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return experts(x, index, weight)

    before, exact = computed(), experts(x, index, weight)
    assert 0 < (before - exact).norm() / exact.norm() < 0.02
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.copy_(parameter.bfloat16())
    assert torch.equal(computed(), before)
    assert not torch.equal(experts(x, index, weight), exact)


def test_mixture_against_a_loop_over_tokens(tiny_model, tokens):
    mixture = tiny_model.mixtures[1]
    x = torch.randn(9, 64)
    rows = []
    for token in x:
        z = mixture.gate.weight @ token + mixture.gate.bias
        expert = int(z.argmax())
        gate, up = (mixture.experts.gate_up_proj[expert] @ token).chunk(2)
        routed = mixture.experts.down_proj[expert] @ (torch.nn.functional.silu(gate) * up)
        c = torch.softmax(mixture.coefficients.weight @ token + mixture.coefficients.bias, -1)
        rows.append(c[0] * routed + c[1] * mixture.residual(token))
    assert torch.allclose(mixture(x.unsqueeze(0))[0], torch.stack(rows), atol=1e-4)


def test_the_order_of_experts_does_not_matter(tiny_model, tokens):
    reference = tiny_model(input_ids=tokens).logits
    mixture, order = tiny_model.mixtures[0], torch.tensor([2, 0, 3, 1])
    for tensor in (mixture.gate.weight.data, mixture.gate.bias, *(p.data for p in mixture.experts.parameters())):
        tensor.copy_(tensor[order].clone())
    assert torch.allclose(tiny_model(input_ids=tokens).logits, reference, atol=1e-5)


def test_the_cache_gives_the_logits_of_the_whole_sequence(tiny_model, tokens):
    whole = tiny_model(input_ids=tokens).logits
    first = tiny_model(input_ids=tokens[:, :7], use_cache=True)
    rest = tiny_model(input_ids=tokens[:, 7:], past_key_values=first.past_key_values)
    assert torch.allclose(torch.cat([first.logits, rest.logits], dim=1), whole, atol=1e-4)


def test_padding_on_the_left_changes_nothing(tiny_model, tokens):
    padded = torch.nn.functional.pad(tokens, (3, 0))
    mask = torch.nn.functional.pad(torch.ones_like(tokens), (3, 0))
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = tiny_model(input_ids=padded, attention_mask=mask, position_ids=positions).logits[:, 3:]
    assert torch.allclose(logits, tiny_model(input_ids=tokens).logits, atol=1e-4)


def test_checkpointing_changes_neither_loss_nor_gradient_nor_the_load_count(tiny_model, tokens):
    plain, saving = copy.deepcopy(tiny_model).train(), copy.deepcopy(tiny_model).train()
    saving.gradient_checkpointing_enable()
    losses = []
    for model in (plain, saving):
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6), name
    for model in (plain, saving):
        assert [load.sum().item() for load in model.take_expert_loads()] == [24.0, 24.0]


def test_auxiliary_losses_are_part_of_the_loss_while_training(tiny_model, tokens):
    tiny_model.train()
    out = tiny_model(input_ids=tokens, labels=tokens)
    plain = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert out.aux_loss > 0
    assert out.loss.item() == pytest.approx(plain.item() + out.aux_loss.item(), rel=1e-5)
    assert [tuple(z.shape) for z in out.router_logits] == [(24, 4), (24, 8)]


def test_a_loop_with_a_loss_of_its_own_pays_for_no_router_losses(tiny_model, tokens):
    tiny_model.train()
    out = tiny_model(input_ids=tokens)
    assert out.aux_loss is None
    assert [z.requires_grad for z in out.router_logits] == [True, True]
    assert [load.sum().item() for load in tiny_model.take_expert_loads()] == [0.0, 0.0]


def test_evaluation_neither_counts_loads_nor_moves_the_bias(tiny_model, tokens):
    before = [mixture.gate.bias.clone() for mixture in tiny_model.mixtures]
    out = tiny_model(input_ids=tokens, labels=tokens, output_router_logits=True)
    assert out.aux_loss > 0
    tiny_model.balance_experts(tiny_model.take_expert_loads())
    assert all(torch.equal(b, m.gate.bias) for b, m in zip(before, tiny_model.mixtures, strict=True))


def test_generation_is_that_of_repeated_argmax(tiny_model, tokens):
    ids = tokens[:1, :4]
    generated = tiny_model.generate(ids, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)
    for _ in range(6):
        ids = torch.cat([ids, tiny_model(input_ids=ids).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(generated, ids)


def test_half_precision_keeps_the_router_in_fp32(tmp_path, tiny_model):
    tiny_model.to(torch.bfloat16).save_pretrained(tmp_path)
    loaded = type(tiny_model).from_pretrained(tmp_path, dtype=torch.bfloat16)
    routing = [name for name in loaded.state_dict() if ".mlp.gate." in name or ".mlp.coefficients." in name]
    assert len(routing) == 2 * 4
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == (torch.float32 if name in routing else torch.bfloat16), name
