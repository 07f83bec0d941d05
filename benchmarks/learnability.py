"""Whether the simulated clips can be learned, and from their motion alone.

  python -m vdr.main --config=configs/physics.py --workdir=data/physics
  python -m benchmarks.learnability --path=data/physics

Features are the plainest there are: a PCA of pixel patches, 8 × 8 pixels of the
first frame and 4 × 8 × 8 of each chunk of four frames after it, 24 components
each. On them a probe of one hidden layer a token and attentive pooling is
fitted to `train` and scored on `test`: on whole clips, and on every single
frame by itself, where the action has to stay at chance.
"""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from einops import rearrange
from jaxtyping import Array, Float, Int, PRNGKeyArray

from configs import base
from vdr.data.physics import clip
from vdr.data.physics.source import PhysicsSource
from vdr.runtime import progress

PATH = flags.DEFINE_string("path", "data/physics", "A simulated data set.")
JSON = flags.DEFINE_string("json", "", "Where to write the figures, too.")

NUM_COMPONENTS, PATCH, CHUNK = 24, 8, 4
WIDTH, HIDDEN, NUM_HEADS = 64, 128, 8
BATCH, STEPS, LEARNING_RATE, WEIGHT_DECAY = 64, 600, 3e-3, 0.1

Tokens = Float[Array, "b t n c"]


def load(path: str, split: str) -> dict[str, np.ndarray]:
  """Pixels and labels of a whole split."""
  cfg = base.source()
  cfg.path, cfg.split, cfg.crop = path, split, "none"
  cfg.fields = ("video", "action", "shape")
  source = PhysicsSource(cfg)
  settings = source.settings
  cfg.height, cfg.width = settings.height, settings.width
  cfg.num_frames = settings.num_frames
  rng = np.random.default_rng(0)
  examples = [source.read(i, rng) for i in range(len(source))]
  return {
    name: np.stack([example[name] for example in examples])
    for name in cfg.fields
  }


class PatchPca:
  """Patches of one thickness, as their leading components of unit scale."""

  def __init__(self, video: np.ndarray, thickness: int):
    self._thickness = thickness
    patches = self._patches(video[:512]).reshape(-1, 3 * thickness * PATCH**2)
    picked = np.random.default_rng(0).choice(len(patches), 20_000)
    self._mean = patches[picked].mean(axis=0)
    _, scales, rows = np.linalg.svd(patches[picked] - self._mean, False)
    self._basis = rows[:NUM_COMPONENTS].T
    self._scale = scales[0] / np.sqrt(len(picked))

  def _patches(self, video: np.ndarray) -> np.ndarray:
    return rearrange(
      np.asarray(video, np.float32) / 127.5 - 1,
      "b (t k) (h p) (w q) c -> b t (h w) (k p q c)",
      k=self._thickness,
      p=PATCH,
      q=PATCH,
    )

  def __call__(self, video: np.ndarray) -> np.ndarray:
    return (self._patches(video) - self._mean) @ self._basis / self._scale


def init(key: PRNGKeyArray, num_frames: int, num_tokens: int, classes: int):
  """Parameters of the probe."""
  shapes = {
    "time": (num_frames, 1, NUM_COMPONENTS),
    "place": (1, num_tokens, NUM_COMPONENTS),
    "hidden": (NUM_COMPONENTS, HIDDEN),
    "back": (HIDDEN, NUM_COMPONENTS),
    "keys": (NUM_COMPONENTS, WIDTH),
    "values": (NUM_COMPONENTS, WIDTH),
    "query": (NUM_HEADS, WIDTH // NUM_HEADS),
    "wide": (WIDTH, 4 * WIDTH),
    "narrow": (4 * WIDTH, WIDTH),
    "classes": (WIDTH, classes),
  }
  keys = jax.random.split(key, len(shapes))
  return {
    name: jax.random.normal(k, shape) * shape[0] ** -0.5
    if name not in ("time", "place", "query")
    else jax.random.normal(k, shape) * 0.02
    for k, (name, shape) in zip(keys, shapes.items(), strict=True)
  }


def predict(params, tokens: Tokens) -> Float[Array, "b classes"]:
  """Logits."""
  x = jax.nn.standardize(tokens) + params["time"] + params["place"]
  x = rearrange(x, "b t n c -> b (t n) c")
  x += jax.nn.gelu(x @ params["hidden"]) @ params["back"]
  split = "b n (h d) -> b n h d"
  keys = rearrange(x @ params["keys"], split, h=NUM_HEADS)
  values = rearrange(x @ params["values"], split, h=NUM_HEADS)
  scores = jnp.einsum("bnhd,hd->bhn", keys, params["query"])
  pooled = jnp.einsum("bhn,bnhd->bhd", jax.nn.softmax(scores), values)
  pooled = rearrange(pooled, "b h d -> b (h d)")
  wide = jax.nn.gelu(jax.nn.standardize(pooled) @ params["wide"])
  return (pooled + wide @ params["narrow"]) @ params["classes"]


def fit_and_score(
  train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels
) -> float:
  """Top-1 accuracy on `test` of a probe fitted to `train`."""
  schedule = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, 50, STEPS)
  optimizer = optax.adamw(schedule, weight_decay=WEIGHT_DECAY)
  classes = int(max(labels.max(), test_labels.max())) + 1
  num_frames, num_tokens = train.shape[1:3]
  params = init(jax.random.key(0), num_frames, num_tokens, classes)

  def loss(params, x: Tokens, y: Int[Array, " b"]):
    logits = predict(params, x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

  @jax.jit
  def step(params, state, x, y):
    grads = jax.grad(loss)(params, x, y)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state

  state, rng = optimizer.init(params), np.random.default_rng(0)
  for _ in range(STEPS):
    picked = rng.integers(len(train), size=BATCH)
    params, state = step(params, state, train[picked], labels[picked])
  logits = jax.jit(predict)(params, test)
  return float((np.argmax(logits, axis=-1) == test_labels).mean())


def main(argv: list[str]) -> None:
  """Prints a Markdown table of accuracies."""
  start = time.monotonic()
  train, test = load(PATH.value, "train"), load(PATH.value, "test")
  single, chunk = (
    PatchPca(train["video"][:, :1], 1),
    PatchPca(train["video"][:, 1:], CHUNK),
  )

  def whole(video: np.ndarray) -> np.ndarray:
    return np.concatenate([single(video[:, :1]), chunk(video[:, 1:])], axis=1)

  figures: dict = {"train": len(train["video"]), "test": len(test["video"])}
  x, x_test = whole(train["video"]), whole(test["video"])
  for task in ("action", "shape"):
    figures[task] = fit_and_score(x, train[task], x_test, test[task])
  num_frames = train["video"].shape[1]
  figures["single_frame_action"] = []
  with progress.bar(num_frames, unit="frame", label="single frames") as bar:
    for t in range(num_frames):
      now = slice(t, t + 1)
      score = fit_and_score(
        single(train["video"][:, now]),
        train["action"],
        single(test["video"][:, now]),
        test["action"],
      )
      figures["single_frame_action"].append(score)
      bar.advance()

  chance = 1 / len(clip.CLASS_NAMES["action"])
  error = float(np.sqrt(chance * (1 - chance) / figures["test"]))
  figures |= {"chance": chance, "standard_error": error}
  frames = np.array(figures["single_frame_action"])
  print(
    f"\n{figures['train']} clips fitted, {figures['test']} scored,"
    f" {time.monotonic() - start:.0f} s\n\n"
    "| PCA patches of | task | accuracy | chance |\n|---|---|---|---|\n"
    f"| the clip | action | {figures['action']:.3f} | {chance:.3f} |\n"
    f"| the clip | shape | {figures['shape']:.3f} | .200 |\n"
    f"| one frame, least to most of {num_frames} | action |"
    f" {frames.min():.3f} to {frames.max():.3f} | {chance:.3f}"
    f" ± {error:.3f} (largest deviation"
    f" {np.abs(frames - chance).max() / error:.1f} standard errors) |"
  )
  if JSON.value:
    with open(JSON.value, "w") as file:
      json.dump(figures, file, indent=2)


if __name__ == "__main__":
  app.run(main)
