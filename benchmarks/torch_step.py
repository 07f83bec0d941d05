# pyright: reportMissingImports=false
"""The training step as one would write it in PyTorch; see train_step.py.

And how features are read of the network, for extraction.py.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import torch_dit
from vdr.runtime import processes

Config = Any  # an `ml_collections.ConfigDict`
Rows = Mapping[str, Mapping[str, Tensor]]  # group → field → tensor

VERSION = torch.__version__


def wait(result: Tensor) -> Tensor:
  """Until a result is there."""
  if result.is_cuda:
    torch.cuda.synchronize()
  return result


@contextlib.contextmanager
def exact() -> Iterator[None]:
  """Products in full float32, on a GPU, too; else they are in TF32 there."""
  before = torch.get_float32_matmul_precision()
  torch.set_float32_matmul_precision("highest")
  try:
    yield
  finally:
    torch.set_float32_matmul_precision(before)


def mix(a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
  """`a · x + b · y`, with one factor for each row."""
  shape = (-1, 1, 1, 1, 1)
  return a.view(shape) * x + b.view(shape) * y


def loss(model: torch_dit.VideoDiT, rows: Rows) -> Tensor:
  """Squared errors of v, weighted by row."""
  total = torch.zeros((), device=next(model.parameters()).device)
  for group in rows.values():
    x0, eps = group["latents"], group["eps"]
    alpha, sigma = group["alpha"], group["sigma"]
    level = group["noise_level"]
    prediction = model(mix(alpha, x0, sigma, eps), level)
    error = (prediction - mix(alpha, eps, -sigma, x0)).square()
    total = total + (group["weight"] * error.flatten(1).mean(1)).sum()
  return total


class Maker:
  """Makes steps that start at the same parameters, on the same rows."""

  def __init__(
    self,
    config: Config,
    params: Any,
    rows: Mapping[str, Mapping[str, np.ndarray]],
  ):
    self._config, self._params = config, params
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(processes.usable_cores())
    self._rows = {
      name: {
        field: torch.from_numpy(np.array(values)).to(self._device)
        for field, values in group.items()
      }
      for name, group in rows.items()
    }

  def _model(self) -> torch_dit.VideoDiT:
    cfg = self._config.model
    grids = {
      (t, h // cfg.patch, w // cfg.patch)
      for t, h, w in (g["latents"].shape[1:4] for g in self._rows.values())
    }
    model = torch_dit.VideoDiT(cfg, grids, getattr(torch, cfg.dtype))
    torch_dit.load(model, self._params)
    return model.to(self._device)

  def predict(self) -> dict[str, np.ndarray]:
    """The prediction of every group, in full float32 on a GPU, too."""
    model, found = self._model(), {}
    with torch.no_grad(), exact():
      for name, g in self._rows.items():
        noised = mix(g["alpha"], g["latents"], g["sigma"], g["eps"])
        found[name] = model(noised, g["noise_level"]).cpu().numpy()
    return found

  def readers(self, layer: int) -> dict[str, Callable[[], Tensor]]:
    """Two ways to read the stream of clips after `layer` blocks, by name."""
    torch.set_float32_matmul_precision("high")  # TF32, as JAX by default
    model, g = self._model().eval(), self._rows["clips"]
    caught: list[Tensor] = []

    def catch(module: torch.nn.Module, args: Any, output: Any) -> None:
      caught.append(output)

    model.blocks[layer - 1].register_forward_hook(catch)

    def noised() -> Tensor:
      return mix(g["alpha"], g["latents"], g["sigma"], g["eps"])

    @torch.no_grad()
    def hooked() -> Tensor:
      caught.clear()
      model(noised(), g["noise_level"])
      return caught[0]

    @torch.no_grad()
    def stopped() -> Tensor:
      caught.clear()
      return model.stream(noised(), g["noise_level"], layer)[0]

    return {
      "PyTorch with a hook": hooked,
      "PyTorch, stopped at the layer": stopped,
    }

  def step(
    self, compiled: bool
  ) -> tuple[Callable[[], Tensor], Callable[[Tensor], float]]:
    """A step, and what waits for its loss."""
    torch.set_float32_matmul_precision("high")  # TF32, as JAX by default
    cfg, model = self._config.optimizer, self._model()
    parameters: list[Tensor] = list(model.parameters())
    averages = [
      [p.detach().clone() for p in parameters] for _ in cfg.ema_decays
    ]
    optimizer = torch.optim.AdamW(
      parameters,
      lr=cfg.learning_rate,
      betas=tuple(cfg.betas),
      eps=cfg.epsilon,
      weight_decay=cfg.weight_decay,
      fused=True,
    )
    loss_fn = torch.compile(loss, dynamic=False) if compiled else loss

    def step() -> Tensor:
      value = loss_fn(model, self._rows)
      optimizer.zero_grad()
      value.backward()
      torch.nn.utils.clip_grad_norm_(parameters, cfg.clip_norm)
      optimizer.step()
      with torch.no_grad():
        for decay, average in zip(cfg.ema_decays, averages, strict=True):
          # One call for all; PyTorch exports no other way.
          torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            average, parameters, 1 - decay
          )
      return value.detach()

    return step, float
