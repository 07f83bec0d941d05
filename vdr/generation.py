"""From noise to pixels, in one jitted call: samples of a diffusion model."""

import functools
from typing import Any

import jax
from jaxtyping import Array, Int, Key, UInt8

from vdr.diffusion import objective as objectives
from vdr.diffusion import sampler as samplers
from vdr.models import dit, tokenizer

# An `ml_collections.ConfigDict`, whose fields have no types.
Config = Any
PyTree = Any


class Generator:
  """Samples clips and images of one model; compiles once for each shape."""

  def __init__(
    self,
    model_cfg: Config,
    diffusion_cfg: Config,
    sampler_cfg: Config,
    tokenizer_cfg: Config,
  ):
    """Checks the configs.

    Args:
      model_cfg: config.model, with the tokenizer's number of channels.
      diffusion_cfg: config.diffusion, that the model was trained with.
      sampler_cfg: config.sampler.
      tokenizer_cfg: of the tokenizer that decodes.

    Raises:
      UserError: they don't go together.
    """
    self._model, self._tokenizer = model_cfg, tokenizer_cfg
    self._objective = objectives.Objective.from_config(diffusion_cfg)
    self._sampler = samplers.Sampler.from_config(sampler_cfg)
    self._generate = jax.jit(self._run, static_argnames="shape")

  def __call__(
    self,
    params: PyTree,
    tokenizer_params: PyTree,
    keys: Key[Array, " num"],
    video_shape: tuple[int, int, int],
    labels: Int[Array, " num"] | None = None,
    text: tuple[Array, Array] | None = None,
  ) -> UInt8[Array, "num t h w 3"]:
    """Samples as many clips as there are keys.

    Args:
      params: of the model.
      tokenizer_params: of the tokenizer.
      keys: `[num]`, one for each clip; nothing else about it is random.
      video_shape: frames, height and width; one frame is an image.
      labels: classes, if the model knows any; None: the null class.
      text: embeddings `[num l e]` and mask `[num l]`, if the model knows texts;
        None: no text.
    """
    shape = tokenizer.latent_shape(self._tokenizer, *video_shape)
    return self._generate(
      params, tokenizer_params, keys, labels, text, shape=shape
    )

  def _run(
    self,
    params: PyTree,
    tokenizer_params: PyTree,
    keys: Key[Array, " num"],
    labels: Array | None,
    text: tuple[Array, Array] | None,
    shape: tuple[int, ...],
  ) -> Array:
    pairs = jax.vmap(jax.random.split)(keys)
    noise = samplers.draw_noise(pairs[:, 0], shape)

    def denoise(x, noise_level, before, given):
      condition = dict(given)
      if self._model.self_conditioning:
        condition["self_condition"] = before
      prediction, _ = dit.apply(
        self._model, params, x, noise_level, **condition
      )
      assert prediction is not None  # no layers were asked for
      return prediction

    given = {}
    if labels is not None:
      given["labels"] = labels
    if text is not None:
      given |= {"text": text[0], "text_mask": text[1]}
    unconditional = None
    if self._model.num_classes or self._model.text_dim:
      unconditional = functools.partial(denoise, given={})
    latents = self._sampler.sample(
      self._objective,
      functools.partial(denoise, given=given),
      noise,
      unconditional_fn=unconditional,
      keys=pairs[:, 1],
    )
    latents = tokenizer.denormalise(tokenizer_params, latents)
    video = tokenizer.decode(self._tokenizer, tokenizer_params, latents)
    return tokenizer.to_uint8(video)
