"""Routers whose weights are shards (FSDP2) have the same losses and gradients."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from moesaic.training.batch import Batch
from moesaic.training.router_losses import ConfiguredObjective, RouterConfig

MARGIN = RouterConfig(kind="margin", margin_warmup_share=0.0)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("kind", ["margin", "lsoftmax"])
def test_shards_give_the_loss_and_the_gradients_of_a_whole_model(model, one_process, kind):
    sharded = deepcopy(model)
    mesh = init_device_mesh("cpu", (1,))
    for layer in sharded.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    ids_BS = torch.arange(24).reshape(2, 12)
    data = Batch(input_ids_BS=ids_BS, labels_BS=ids_BS, documents_BS=torch.zeros_like(ids_BS))
    found = []
    for each in (model, sharded):
        with ConfiguredObjective(replace(MARGIN, kind=kind), each, total_steps=10) as objective:
            outputs = each(ids_BS, output_router_logits=True)
            loss = objective.loss(each, outputs, data, 5)
            # FSDP gathers a layer's weights when a gradient arrives at its output, as that of the prediction does.
            (100 * loss + outputs.logits.logsumexp(dim=-1).mean()).backward()
        gradients = [mixture.gate.weight.grad for mixture in each.mixtures]
        found.append((loss.item(), [getattr(g, "full_tensor", lambda g=g: g)() for g in gradients]))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-6)
    torch.testing.assert_close(found[1][1], found[0][1])
    assert all(gradient.abs().sum() > 0 for gradient in found[0][1])
