"""The `look` verb: one layer's features, without a probe.

A work directory gets `look.json`, which `look.schema.json` describes, and

* `pca.gif`, `pca.png`: clips beside the colours of their features;
* `scenes.gif`, `scenes.png`: the same of the simulated wall of bricks that a
  camera pans along, and of a world where nothing moves;
* `correspondence.png`: where points of the first frame are found again.

Two numbers stand beside the pictures. **Motion sensitivity**: four frames and
the same four in reverse, in the middle of clips that go on evenly; the change
of the features of those frames, over that between two clips of the scene. All
that differs is the order, so that a model of single frames has 0, and so has
everybody where nothing moves. **Correspondence**: a point of frame 0 is looked
for in the last frame by the cosine of features. Features of latent frame k are
those of frames 4k − 3 … 4k; they are compared with where the point is in frame
4k, the last.
"""

import functools
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vdr import (
  draw,
  features,
  follow,
  media,
  mirrored,
  page,
  panels,
  strips,
  trained,
)
from vdr.data import held_out, loader
from vdr.features import videos
from vdr.runtime import errors, made_of, plain_configs, schemas, versions

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
Arrays = dict[str, np.ndarray]

SECTIONS = ("look", "physics", "data", "checkpoint")  # they decide
NAME = "look.json"
SCHEMA = schemas.Schema(
  pathlib.Path(__file__).with_name("look.schema.json"), "look"
)
SCENES = {"brick_wall": "the camera pans along a wall", "still": "at rest"}
TRACKS = ("points_xy", "points_visible")
SCENE_CLIPS = 2  # of each scene, in pictures
COLOURS_CAPTION = (
  "Each clip beside the first three principal components of its features, as"
  " red, green and blue. Colours mean the same all through a clip, but not in"
  " the next one."
)
SENSITIVITY_NOTE = (
  "Mean squared change of the features of frames whose order is reversed, over"
  " that between two clips of the same scene: 0, order is nothing to them; 1,"
  " the reverse is as far as another clip."
)


def run(config: Config, workdir: str | os.PathLike) -> None:
  """Looks, unless it is done for this checkpoint.

  Raises:
    UserError: the config can't be carried out.
  """
  cfg = config.look
  model = trained.load(config.checkpoint, cfg.which)
  backbone = features.build(cfg.backbone, model, config.seed)
  looking = _Looking(config, model, backbone)
  path = pathlib.Path(workdir).expanduser()
  made_of.claim(path, config, SECTIONS, model.made_of)
  if not (path / NAME).exists():
    looking.write(path)
  found = read(path)
  moved, points = found["motion_sensitivity"], found["correspondence"]
  print(
    f"layer {found['layer']}, noise {found['noise_level']}: motion sensitivity"
    f" {moved['brick_wall']:.3f} (still {moved['still']:.3f})"
  )
  if points and points["n"]:
    print(
      f"correspondence: {points['error_px']:.1f} px of 256, staying"
      f" {points['copy_error_px']:.1f}, {points['n']} points"
      f" ({points['moving']['n']} of them move)"
    )


def read(path: pathlib.Path) -> dict[str, Any]:
  """What was found, checked.

  Raises:
    UserError: there is nothing, or it is not what the schema describes.
  """
  return SCHEMA.read(path / NAME)


class _Looking:
  """One model at one layer and noise level."""

  def __init__(
    self, config: Config, model: trained.Trained, backbone: features.Backbone
  ):
    cfg, self._config = config.look, config
    self._model, self._backbone = model, backbone
    self._spec = backbone.resolve(
      features.FeatureSpec(
        layers=tuple(cfg.layers) or (backbone.two_thirds,),
        noise_levels=(cfg.noise_level,),
        draws=cfg.draws,
        seed=config.seed,
        frames=cfg.frames,
      )
    )
    self._data = _data(config, model)
    (self._clips,) = self._data.sources.values()
    size = (self._clips.num_frames, self._clips.height, self._clips.width)
    self._scenes = {
      name: mirrored.settings(
        config.physics, name, *size, backbone.network.time
      )
      for name in SCENES
    }

  def write(self, path: pathlib.Path) -> None:
    """Writes the pictures, then `look.json`: where it is, all of it is."""
    start = time.perf_counter()
    spec, about = self._spec, self._backbone.about
    (layer,), levels = spec.layers, spec.levels(self._backbone.schedule)
    kind = "image" if self._backbone.network.is_image else "video"
    title = f"{kind} model, layer {layer}, noise {levels.noise_levels[0]:g}"
    batch = _read_clips(self._data, self._config)
    numbers = np.arange(len(batch["video"]), dtype=np.int32)
    found = self._read(batch["video"], numbers)
    few = slice(self._config.look.num_drawn)
    names = [f"clip {i}" for i in numbers[few]]
    clips, colours = batch["video"][few], found[few]
    picture = self._draw_colours(path, "pca", title, clips, colours, names)
    sensitivity, scenes = self._look_at_scenes(path, title)
    pictures, correspondence = [picture, scenes], None
    if all(name in batch for name in TRACKS):
      correspondence, picture = self._look_at_points(path, title, batch, found)
      pictures += [picture] if picture else []
    log_snr = levels.log_snrs[0]
    result = {
      "schema_version": 1,
      "model": {
        "kind": kind,
        "backbone": about["kind"],
        "hash": about["hash"],
        "step": about.get("step"),
      },
      "layer": int(layer),
      "noise_level": float(levels.noise_levels[0]),
      "log_snr": float(log_snr) if np.isfinite(log_snr) else None,
      "motion_sensitivity": sensitivity,
      "correspondence": correspondence,
      "pictures": pictures,
      "config": plain_configs.to_json(self._config),
      "versions": versions.collect(
        jax.devices()[0].device_kind, jax.device_count(), jax.process_count()
      ),
      "seconds": round(time.perf_counter() - start, 1),
    }
    SCHEMA.write(path / NAME, result)

  def _read(
    self,
    video: np.ndarray,
    clip_index: np.ndarray,
    backbone: features.Backbone | None = None,
    spec: features.FeatureSpec | None = None,
  ) -> np.ndarray:
    """Features of any number of clips, in equal batches: one program."""
    backbone, spec = backbone or self._backbone, spec or self._spec
    size, parts = self._data.batch_size, []
    for start in range(0, len(video), size):
      # The last batch is filled up with the last clip.
      rows = np.minimum(np.arange(start, start + size), len(video) - 1)
      found = backbone.features(video[rows], spec, clip_index[rows])
      parts.append(np.asarray(next(iter(found.values()))))
    return np.concatenate(parts)[: len(video)]

  def _times(self) -> np.ndarray:
    """The last pixel frame that each feature frame covers."""
    num_frames = self._clips.num_frames
    return self._backbone.frame_times(num_frames, spec=self._spec)[:, 1]

  def _draw_colours(
    self,
    path: pathlib.Path,
    name: str,
    title: str,
    video: np.ndarray,
    found: np.ndarray,
    names: list[str],
  ) -> dict[str, str]:
    """Clips beside their features in colour, in `NAME.gif` and `NAME.png`."""
    covering = np.searchsorted(self._times(), np.arange(video.shape[1]))
    rows = []
    for clip, own, heading in zip(video, found, names, strict=True):
      colours = panels.colour_features(own)[covering]
      token = clip.shape[1] // colours.shape[1]
      colours = draw.enlarge(colours, token)
      shown = {"clip": clip, "features": colours}
      shown = {k: strips.enlarge(v) for k, v in shown.items()}
      number = tuple(range(len(clip)))
      rows.append(strips.Row(strips.heading(heading, []), shown, number))
    title = f"Features in colour: {title}"
    strips.write(path, name, title, COLOURS_CAPTION, rows)
    file, still = f"{name}.gif", f"{name}.png"
    about = {"title": title, "caption": COLOURS_CAPTION}
    return {"file": file, "still": still, **about}

  def _look_at_scenes(
    self, path: pathlib.Path, title: str
  ) -> tuple[dict[str, Any], dict[str, str]]:
    """Motion sensitivity, and a picture of both scenes."""
    time, images = self._backbone.network.time, self._spec.frames != "clip"
    latents = features.build("latents", self._model)
    clean = latents.resolve(
      features.FeatureSpec(noise_levels=(0.0,), frames=self._spec.frames)
    )
    num, found, shown, names = self._config.look.num_scene_clips, {}, [], []
    for name, settings in self._scenes.items():
      video = mirrored.simulate(settings, self._config.seed, num)
      pair = mirrored.mirrored(video, self._clips.num_frames, time)
      found[name] = mirrored.sensitivity(self._read, images, *pair, time)
      if name == "brick_wall":
        read = functools.partial(self._read, backbone=latents, spec=clean)
        found["latents"] = mirrored.sensitivity(read, images, *pair, time)
      shown.append(pair[0][:SCENE_CLIPS])
      names += [SCENES[name]] * len(shown[-1])
    video = np.concatenate(shown)
    number = np.concatenate([np.arange(len(x)) for x in shown]).astype(np.int32)
    colours = self._read(video, number)
    picture = self._draw_colours(path, "scenes", title, video, colours, names)
    return {**found, "n": num, "note": SENSITIVITY_NOTE}, picture

  def _look_at_points(
    self, path: pathlib.Path, title: str, batch: Arrays, found: np.ndarray
  ) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Points of the first frame looked for in the last one, clip by clip."""
    video, cfg = batch["video"], self._config.look
    size = video.shape[2:4]
    args = zip(found, batch["points_xy"], batch["points_visible"], strict=True)
    tracks = [follow.follow(*each, *size) for each in args]
    times = self._times()
    rows, headings = [], []
    for i in [i for i, each in enumerate(tracks) if len(each.query)][
      : cfg.num_drawn
    ]:
      own = follow.draw(video[i], found[i], times, tracks[i], cfg.num_points)
      rows += own
      headings += [
        strips.heading(f"clip {i}", [f"point {q + 1}"]) for q in range(len(own))
      ]
    if not rows:
      return follow.summary(tracks), None
    columns = [f"frame {times[k]}" for k in follow.frames_shown(times)]
    sheet = page.contact_sheet(rows, headings, columns, 4)
    title, file = f"Correspondence: {title}", "correspondence.png"
    media.write_png(path / file, page.titled(sheet, title, follow.CAPTION))
    picture = {"file": file, "title": title, "caption": follow.CAPTION}
    return follow.summary(tracks), picture


def _data(config: Config, model: trained.Trained) -> Config:
  """config.data for one pass, of the size of training where it has none."""
  data = held_out.of_split(
    config.data, config.look.split, shuffle=False, num_epochs=1
  )
  seen = videos.training_source(model.config)
  (name, *more) = sorted(data.sources)
  if more:
    raise errors.UserError(
      f"data.sources has {', '.join((name, *more))}: look at one of them"
    )
  source = data.sources[name]
  with data.unlocked():
    source.fields = ("video",)
    if source.kind == "physics":
      source.fields = ("video", *TRACKS)
    for field in ("num_frames", "height", "width"):
      source[field] = source[field] or seen[field]
  for field in ("height", "width"):
    if source[field] != seen[field]:
      raise errors.UserError(
        f"data.sources.{name}.{field}={source[field]}, but the model was"
        f" trained on {seen[field]} pixels; set it to that, or to 0"
      )
  field = f"look.split={config.look.split}"
  held_out.check_unseen(model.config, field, data)
  return data


def _read_clips(data: Config, config: Config) -> Arrays:
  """The first clips that can be read."""
  wanted, parts = config.look.num_clips, []
  with loader.Loader(
    data, seed=config.seed, num_workers=config.runtime.num_workers
  ) as batches:
    for batch in _until(iter(batches), wanted):
      parts.append(batch)
  if not parts:
    raise errors.UserError(f"split {config.look.split!r} has no clips")
  return {k: np.concatenate([p[k] for p in parts])[:wanted] for k in parts[0]}


def _until(batches: Iterator[Arrays], wanted: int) -> Iterator[Arrays]:
  """What is valid of batches, until there is enough."""
  for batch in batches:
    valid = batch["clip_valid"]
    names = [k for k in ("video", *TRACKS) if k in batch]
    yield {k: batch[k][valid] for k in names}
    wanted -= int(valid.sum())
    if wanted <= 0:
      return
