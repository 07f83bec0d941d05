"""vdr: what does a diffusion model learn when it is trained on video?

    model = vdr.load("runs/video")
    found = model.features("holiday.mp4", layers=[4, 8], noise_level=0.2)

Importing the package is cheap: nothing heavy is loaded until it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from vdr.features.videos import VideoFeatures, VideoModel, load

__all__ = ["VideoFeatures", "VideoModel", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  """The public names, loaded when one is first used."""
  if name in __all__:
    from vdr.features import videos

    return getattr(videos, name)
  raise AttributeError(f"module 'vdr' has no attribute {name!r}")


def __dir__() -> list[str]:
  return sorted([*globals(), *__all__])
