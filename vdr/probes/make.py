"""Heads and plans from config.probe.

Tasks say what is predicted, config.probe how large heads are; where features
lie in time comes from the backbone (`places.py`).
"""

from collections.abc import Sequence
from typing import Any

from vdr.probes import dense as dense_lib
from vdr.probes import heads, places, readout, recurrent, steps, tracking
from vdr.probes.head import Head
from vdr.probes.plan import Plan
from vdr.runtime import errors

Config = Any  # config.probe: an `ml_collections.ConfigDict`
TRACKERS = ("one_shot", "recurrent")


def plan(cfg: Config, seed: int, batch_size: int | None = None) -> Plan:
  """How members are fitted.

  Args:
    cfg: config.probe.
    seed: config.seed.
    batch_size: clips of a step, `cfg.dense.batch_size` for instance; None: that
      of heads with one answer a clip.

  Raises:
    UserError: a number means nothing.
  """
  made = Plan(
    num_steps=cfg.num_steps,
    batch_size=cfg.batch_size if batch_size is None else batch_size,
    learning_rates=tuple(map(float, cfg.learning_rates)),
    weight_decays=tuple(map(float, cfg.weight_decays)),
    seeds=tuple(range(cfg.num_seeds)),
    root_seed=seed,
    warmup_steps=cfg.warmup_steps,
    final_share=cfg.final_share,
    betas=(float(cfg.betas[0]), float(cfg.betas[1])),
    epsilon=cfg.epsilon,
    clip_norm=cfg.clip_norm,
    steps_per_call=cfg.steps_per_call,
    store=cfg.store,
    store_bytes=int(cfg.store_gb * 1e9),
    step_bytes=int(cfg.step_mb * 1e6),
    stream_batches=cfg.stream_batches,
  )
  made.check()
  return made


def steps_of(own: Config, cfg: Config) -> int:
  """Steps of a kind of head: its own number, or that of all.

  Args:
    own: `cfg.dense` or `cfg.track`.
    cfg: config.probe.
  """
  return own.num_steps or cfg.num_steps


def sizes(
  cfg: Config, frame_times: Sequence[int], num_frames: int
) -> readout.Sizes:
  """Sizes of attention.

  Args:
    cfg: config.probe.
    frame_times: the last pixel frame that each feature frame covers.
    num_frames: pixel frames of a clip.
  """
  made = readout.Sizes(
    width=cfg.width,
    num_heads=cfg.num_heads,
    frame_times=tuple(frame_times),
    num_frames=num_frames,
    places=cfg.places,
  )
  made.check()
  places.check(made.frame_times, len(made.frame_times), num_frames)
  return made


def attentive(
  cfg: Config,
  num_outputs: int,
  frame_times: Sequence[int],
  num_frames: int,
) -> heads.Attentive:
  """The attentive head; `sizes` says what the arguments are."""
  return heads.Attentive(num_outputs, sizes(cfg, frame_times, num_frames))


def pose(
  cfg: Config,
  frame_times: Sequence[int],
  num_frames: int,
  *,
  mean: Sequence[float] = heads.IDENTITY,
  std: Sequence[float] = (1.0,),
) -> heads.Pose:
  """The pose head, with mean and spread of the poses to fit it on."""
  own = sizes(cfg, frame_times, num_frames)
  return heads.Pose(own, tuple(map(float, mean)), tuple(map(float, std)))


def dense(
  cfg: Config,
  frame_times: Sequence[int],
  num_frames: int,
  *,
  frames: Sequence[int],
  height: int,
  width: int,
  names: Sequence[str],
  channels: int = 1,
  mean: float = 0.0,
  std: float = 1.0,
  logarithms: bool = False,
) -> tuple[dense_lib.Dense, steps.Draw | None]:
  """The dense head, and what a step draws of its patches.

  Args:
    cfg: config.probe.
    frame_times: as in `sizes`.
    num_frames: as in `sizes`.
    frames: pixel frames that are predicted.
    height: rows of the maps.
    width: columns of the maps.
    names: targets that are maps of these frames, `[b t h w]` or `[b t h w c]`.
    channels: numbers of a pixel.
    mean: of the targets.
    std: of the targets.
    logarithms: mean and spread are those of the targets' logarithms, and so is
      what the head's last map gives.
  """
  head = dense_lib.Dense(
    sizes(cfg, frame_times, num_frames),
    frames=tuple(frames),
    height=height,
    width=width,
    patch=tuple(cfg.dense.patch),
    channels=channels,
    mean=float(mean),
    std=float(std),
    logarithms=logarithms,
  )
  num = cfg.dense.queries_per_step
  if not num:
    return head, None
  return head, dense_lib.DrawPatches(head, num, tuple(names))


def track(
  cfg: Config,
  kind: tracking.Kind,
  frame_times: Sequence[int],
  num_frames: int,
  *,
  query_dim: int,
  names: Sequence[str],
  valid: str,
) -> tuple[Head, steps.Draw | None]:
  """A tracking head, and what a step draws of the queries.

  Args:
    cfg: config.probe.
    kind: points or boxes.
    frame_times: as in `sizes`.
    num_frames: as in `sizes`.
    query_dim: coordinates of a query.
    names: inputs with axes [b n …], the query apart.
    valid: the one, bool [b n], that says which queries are worth a step.

  Raises:
    UserError: config.probe.track.kind is unknown.
  """
  own = sizes(cfg, frame_times, num_frames)
  targets = tracking.Targets(
    kind,
    query_dim=query_dim,
    octaves=cfg.track.octaves,
    hidden=cfg.track.hidden,
    from_query=cfg.track.from_query,
  )
  targets.check()
  if cfg.track.kind == "one_shot":
    head = tracking.Track(own, targets, cfg.track.tile_frames or num_frames)
  elif cfg.track.kind == "recurrent":
    head = recurrent.Recurrent(
      own, targets, cfg.track.num_layers, cfg.track.mlp_width
    )
  else:
    raise errors.UserError(
      f"config.probe.track.kind {cfg.track.kind!r} is unknown; choose from"
      f" {', '.join(TRACKERS)}"
    )
  num = cfg.track.queries_per_step
  if not num:
    return head, None
  return head, tracking.DrawQueries(num, tuple(names), valid)
