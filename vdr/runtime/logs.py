"""What training tells: numbers, pictures, and where the time goes.

A work directory gets `metrics.jsonl`, one object a line, `tensorboard/` for the
stock tool, and `profile/` where one is asked for. A run that was
killed and goes on leaves each step once in all of them. Log a step before
saving its checkpoint: what was logged later than the checkpoint is dropped.
"""

import hashlib
import importlib
import json
import logging
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import tensorboardX
from jaxtyping import UInt8

from vdr.runtime import errors, workdir

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any

METRICS_NAME = "metrics.jsonl"
RESERVED = ("step", "time")


class Logger:
  """Tells numbers and pictures, on the first host; elsewhere nothing."""

  def __init__(
    self,
    path: pathlib.Path,
    cfg: Config,
    *,
    process_index: int = 0,
    step: int = 0,
    config: Mapping[str, Any] | None = None,
  ):
    """Opens the logs, and drops what is later than `step`.

    Args:
      path: the work directory.
      cfg: of `configs/base.py:log`.
      process_index: which host this is.
      step: steps done, those of the checkpoint that training goes on from.
      config: plain JSON for Weights & Biases to show.

    Raises:
      UserError: Weights & Biases is asked for and not installed.
    """
    self._path, self._active = path, process_index == 0
    self._file = self._tensorboard = self._wandb = None
    if not self._active:
      return
    if cfg.wandb:
      self._wandb = _open_wandb(path, config)
    # Without a checkpoint everything starts anew, step 0 included.
    first = step + 1 if step else 0
    _drop_from(path / METRICS_NAME, first)
    self._file = (path / METRICS_NAME).open("a")
    # It shows a NaN as one, and need not warn of each.
    logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)
    self._tensorboard = tensorboardX.SummaryWriter(
      str(path / "tensorboard"),
      purge_step=first,  # hides what an earlier start wrote from there on
      # Two starts within a second would write into one file.
      filename_suffix=f".{time.time_ns()}",
    )

  def scalars(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes numbers; a NaN or an infinity is null in `metrics.jsonl`.

    Args:
      step: steps done.
      values: by name; "group/name" is grouped in TensorBoard.
    """
    if self._file is None or self._tensorboard is None:
      return
    for name in RESERVED:
      if name in values:
        raise ValueError(f"{name!r} is not free for a number of that name")
    numbers = {name: float(value) for name, value in values.items()}
    line: dict[str, Any] = {"step": step, "time": round(time.time(), 3)}
    line |= {k: v if math.isfinite(v) else None for k, v in numbers.items()}
    # In one write, so that a kill tears the last line at most.
    self._file.write(json.dumps(line) + "\n")
    self._file.flush()
    for name, value in numbers.items():
      self._tensorboard.add_scalar(name, value, step)
    self._tensorboard.flush()
    if self._wandb is not None:
      self._wandb.log(numbers, step=step)

  def picture(
    self, step: int, name: str, picture: UInt8[np.ndarray, "h w 3"]
  ) -> None:
    """Shows a picture in TensorBoard, and in Weights & Biases."""
    if self._tensorboard is None:
      return
    self._tensorboard.add_image(name, picture, step, dataformats="HWC")
    self._tensorboard.flush()
    if self._wandb is not None:
      image = importlib.import_module("wandb").Image(picture)
      self._wandb.log({name: image}, step=step)

  def text(self, step: int, name: str, text: str) -> None:
    """Writes text, Markdown, to TensorBoard."""
    if self._tensorboard is not None:
      self._tensorboard.add_text(name, text, step)
      self._tensorboard.flush()

  def close(self) -> None:
    """Closes the files."""
    if self._file is not None and self._tensorboard is not None:
      self._file.close()
      self._tensorboard.close()
    if self._wandb is not None:
      self._wandb.finish()
    self._file = self._tensorboard = self._wandb = None

  def __enter__(self) -> "Logger":
    return self

  def __exit__(self, *unused) -> None:
    self.close()


class Profiler:
  """Records the steps that the config asks for, for TensorBoard or XProf."""

  def __init__(self, path: pathlib.Path, cfg: Config):
    """Checks the config.

    Args:
      path: the work directory; the profile goes to `profile/` in it.
      cfg: of `configs/base.py:log`.

    Raises:
      UserError: profile_steps is not two steps in order.
    """
    steps = tuple(cfg.profile_steps)
    if steps and (len(steps) != 2 or not 0 < steps[0] <= steps[1]):
      raise errors.UserError(
        f"log.profile_steps={steps}: use the first and the last step to record,"
        " (10, 12) for example, or () for none"
      )
    self._steps, self._folder = steps, path / "profile"
    self._running = False

  def before(self, step: int) -> None:
    """To be called before step number `step`, the first is 1."""
    if self._steps and step == self._steps[0]:
      jax.profiler.start_trace(str(self._folder))
      self._running = True

  def after(self, step: int, result: Any = None) -> None:
    """To be called after it; waits for `result` where the recording ends."""
    if self._running and step >= self._steps[1]:
      jax.block_until_ready(result)
      self.close()

  def close(self) -> None:
    """Ends the recording, if there is one."""
    if self._running:
      self._running = False
      jax.profiler.stop_trace()


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """The lines of a `metrics.jsonl`; a torn one is left out."""
  if not path.exists():
    return []
  lines = []
  for text in path.read_bytes().splitlines():
    try:
      line = json.loads(text)
      lines.append(line | {"step": int(line["step"])})
    except (ValueError, KeyError, TypeError):
      continue
  return lines


def show(values: Mapping[str, Any]) -> str:
  """Numbers for the console: "loss 0.123, clips_per_s 31.2"."""
  shown = []
  for name, value in values.items():
    value = float(value)
    if name == "share_of_peak":
      shown.append(f"{value:.0%} of peak")
    else:
      shown.append(
        f"{name} {value:,.4g}" if value < 1e4 else f"{name} {value:,.0f}"
      )
  return ", ".join(shown)


def _drop_from(path: pathlib.Path, first: int) -> None:
  """Drops the lines of a step and all later ones, and a torn one."""
  if path.exists():
    kept = [line for line in read_metrics(path) if line["step"] < first]
    workdir.write_text(path, "".join(json.dumps(k) + "\n" for k in kept))


def _open_wandb(path: pathlib.Path, config: Mapping[str, Any] | None) -> Any:
  try:
    wandb = importlib.import_module("wandb")
  except ImportError as error:
    raise errors.UserError(
      "log.wandb=True, but wandb is not installed: pip install wandb, or set"
      " log.wandb=False"
    ) from error
  # The same run again after a restart.
  run_id = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
  return wandb.init(
    project="vdr",
    name=path.resolve().name,
    id=run_id,
    resume="allow",
    dir=str(path),
    config=dict(config or {}),
  )
