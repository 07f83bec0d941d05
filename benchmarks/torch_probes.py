# pyright: reportMissingImports=false
"""A grid of probes as V-JEPA 2 fits it, in PyTorch; see probe_grid.py.

Its evaluations make one module and one optimiser for each pair of learning rate
and weight decay, run the frozen network once a batch for all of them, and take
the heads one by one in a loop. The head here is vdr's attentive one, a learned
query that reads the clip's tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import torch_dit
from vdr.runtime import processes

_EPSILON = 1e-6


class Attentive(nn.Module):
  """LayerNorm, places, one query's attention, an MLP and a linear map."""

  def __init__(self, params: Any, table: np.ndarray):
    """Takes the parameters of `vdr.probes.heads.Attentive`.

    Args:
      params: of one member.
      table: places of the tokens, of `readout.Tokens.table`.
    """
    super().__init__()
    read = params["readout"]
    width, num_heads, head_dim = read["key"]["kernel"].shape
    outs = num_heads * head_dim
    self.num_heads = num_heads
    self.register_buffer("table", torch.from_numpy(np.array(table)))
    self.norm = _norm(read["tokens"])
    self.place = _parameter(read["tokens"]["place"])
    self.key = nn.Linear(width, outs, bias=False)
    self.value = nn.Linear(width, outs)
    self.attended = nn.Linear(outs, outs)
    self.second_norm = _norm(read["norm"])
    hidden = read["mlp"]["up"]["bias"].shape[0]
    self.up, self.down = nn.Linear(outs, hidden), nn.Linear(hidden, outs)
    self.query = _parameter(params["query"])
    self.out = nn.Linear(outs, params["out"]["bias"].shape[0])
    for layer, values, ins in (
      (self.key, read["key"], 1),
      (self.value, read["value"], 1),
      (self.attended, read["out"], 2),
      (self.up, read["mlp"]["up"], 1),
      (self.down, read["mlp"]["down"], 1),
      (self.out, params["out"], 1),
    ):
      torch_dit.fill(layer, values, ins)

  def forward(self, tokens: Tensor) -> Tensor:
    """Logits `[b k]` of tokens `[b n d]`."""
    x = self.norm(tokens) + self.get_buffer("table") @ self.place
    query = self.query.expand(len(x), -1, -1)
    y = F.scaled_dot_product_attention(
      self._split(query), self._split(self.key(x)), self._split(self.value(x))
    )
    z = query + self.attended(y.transpose(1, 2).flatten(-2))
    y = F.gelu(self.up(self.second_norm(z)), approximate="tanh")
    return self.out((z + self.down(y))[:, 0])

  def _split(self, x: Tensor) -> Tensor:
    return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class Grid:
  """Heads for every pair of learning rate and weight decay."""

  def __init__(
    self,
    cfg: Any,
    params: Any,
    probe: Any,
    table: np.ndarray,
    layer: int,
    batches: tuple[np.ndarray, np.ndarray, float],
  ):
    """Copies the network, and places its clips.

    Args:
      cfg: config.model of the frozen network.
      params: of it.
      probe: parameters that every head begins with.
      table: as in `Attentive`.
      layer: that is read.
      batches: latents `[n b t h w c]`, classes `[n b]`, and the noise level.
    """
    torch.set_num_threads(processes.usable_cores())
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")  # TF32, as JAX by default
    latents, labels, level = batches
    grid = latents.shape[2:5]
    network = torch_dit.VideoDiT(cfg, {grid}, torch.float32)
    torch_dit.load(network, params)
    self._network = network.to(self._device).eval()
    self._probe, self._table, self._layer = probe, table, layer
    self._latents = torch.from_numpy(np.array(latents)).to(self._device)
    self._labels = torch.from_numpy(np.array(labels)).long().to(self._device)
    self._level = torch.full(latents.shape[1:2], level, device=self._device)

  def fit(self, hypers: Sequence[tuple[float, float]]) -> Tensor:
    """One pass over the batches; the losses `[n heads]` before each step."""
    heads = [
      Attentive(self._probe, self._table).to(self._device) for _ in hypers
    ]
    optimizers = [
      torch.optim.AdamW(_decayed(head, decay), lr=rate)
      for head, (rate, decay) in zip(heads, hypers, strict=True)
    ]
    losses = []
    for latents, labels in zip(self._latents, self._labels, strict=True):
      with torch.no_grad():
        tokens, *_ = self._network.stream(latents, self._level, self._layer)
        tokens = tokens.flatten(1, 3)
      found = []
      for head, optimizer in zip(heads, optimizers, strict=True):
        loss = F.cross_entropy(head(tokens), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
      losses.append(torch.stack(found))
    return torch.stack(losses).cpu()


def _decayed(head: nn.Module, decay: float) -> list[dict[str, Any]]:
  """Only matrices decay, as in V-JEPA 2 and in vdr."""
  parameters = list(head.parameters())
  return [
    {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
    {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
  ]


def _parameter(values: Any) -> nn.Parameter:
  return nn.Parameter(torch.from_numpy(np.array(values, np.float32)))


def _norm(params: Any) -> nn.LayerNorm:
  norm = nn.LayerNorm(params["scale"].shape[0], eps=_EPSILON)
  norm.weight = _parameter(params["scale"])
  norm.bias = _parameter(params["bias"])
  return norm
