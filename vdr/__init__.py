"""vdr: what does a diffusion model learn when it is trained on video?

    model = vdr.load("runs/video")
    found = model.features("holiday.mp4", layers=[4, 8], noise_level=0.2)

Importing the package is cheap: nothing heavy is loaded until it is used.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  """What is loaded when it is first used; see `vdr.features.videos`."""
  if name == "load":
    from vdr.features.videos import load

    return load
  raise AttributeError(f"module 'vdr' has no attribute {name!r}")
