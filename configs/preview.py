"""Draws clips of any source: a contact sheet and an animation.

python -m vdr.main --config=configs/preview.py --workdir=runs/preview \
  --config.data.sources.main.path=data/physics

Hardware: any CPU, seconds. `debug` simulates the clips it draws.
"""

from configs import base

EVERYTHING = (
  "video",
  "depth_m",
  "normals",
  "segmentation",
  "boxes_yxyx",
  "points_xy",
  "shape",
  "action",
  "camera_motion",
  "label",
  "caption",
)

VARIANTS = {"debug": {"preview.num_clips": 2, "preview.columns": 2}}


def get_config(variant=None):
  """The preview; see the module's docstring."""
  return base.build(
    variant,
    VARIANTS,
    job="preview",
    preview__sheet_frames=3,
    data__batch_size=4,
    data__sources__main__fields=EVERYTHING,
    data__sources__main__split="all",
    data__sources__main__sampling="middle",
  )
