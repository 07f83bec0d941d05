"""Frozen features: what a network computes for a clip, layer by layer.

* `spec`: what is read (layers, noise levels, draws, …), checked;
* `networks`: what can be read: a diffusion model, raw latents, raw pixels;
* `backbone`: a network with its parameters, and the jitted call;
* `videos`: features of arrays and files of any length (`vdr.load`).

    spec = features.FeatureSpec(layers=(4, 8), noise_levels=(0.1, 0.3))
    backbone = features.build("checkpoint", trained.load("runs/video"))
    found = backbone.features(video, spec)  # uint8 [b t h w 3]
    found[8, 0.1]  # float32 [b t' h' w' d]
"""

from vdr.features.backbone import KINDS, RANDOM_GATES, Backbone, build
from vdr.features.spec import FeatureSpec, Levels

__all__ = [
  "KINDS",
  "RANDOM_GATES",
  "Backbone",
  "FeatureSpec",
  "Levels",
  "build",
]
