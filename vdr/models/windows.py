"""Which tokens attend one another: windows, by reshape.

A **window** is a box of tokens `(t, h, w)`; tokens attend those of their own
window. Blocks alternate two windows, spatial first (W.A.L.T, arXiv 2312.06662).
None stands for W.A.L.T's identity mask: every token attends itself only, so
that attention passes its values through.

The **layout** of a call says which windows blocks have:

* `window`: in turn spatial windows (one frame) and spatio-temporal ones;
* `full`: all tokens, in every block;
* `isolated`: every latent frame is an image of its own. `dit.apply` moves the
  frames into the batch.
"""

from typing import Any

import einops
from jaxtyping import Array, Float

from vdr.models.positions import Grid
from vdr.runtime import errors

Config = Any  # config.model: an `ml_collections.ConfigDict`
Window = Grid | None

LAYOUTS = ("window", "full", "isolated")


def plan(cfg: Config, grid: Grid, layout: str) -> tuple[Window, Window]:
  """The windows of blocks 0, 2, 4, … and of blocks 1, 3, 5, … .

  Args:
    cfg: config.model.
    grid: tokens of the clip; one frame makes it an image.
    layout: `window` or `full`.

  Raises:
    UserError: a window does not divide the grid.
  """
  frame = (1, *grid[1:])
  if layout == "full":
    spatial, both = frame, grid
  else:
    spatial = fit((1, *cfg.window_spatial), grid, "window_spatial")
    both = spatial
    if cfg.spatiotemporal_blocks == "spatiotemporal" and grid[0] > 1:
      both = fit(cfg.window_spatiotemporal, grid, "window_spatiotemporal")
  if cfg.spatiotemporal_blocks == "spatial":
    return spatial, spatial
  if layout == "full":
    return both, both
  if grid[0] == 1 and cfg.image_in_spatiotemporal == "identity":
    return spatial, None
  return spatial, both


def fit(window: Grid, grid: Grid, field: str) -> Grid:
  """The window in this grid: along a shorter axis it ends with the grid.

  Raises:
    UserError: it does not divide the grid.
  """
  fitted = []
  for size, length, axis in zip(window, grid, ("t", "h", "w"), strict=True):
    size = min(size, length)
    if length % size:
      fits = [str(n) for n in range(1, length + 1) if length % n == 0]
      raise errors.UserError(
        f"config.model.{field} has {size} tokens along {axis}, which do not"
        f" divide the {length} of this clip; sizes that do:"
        f" {', '.join(fits)}"
      )
    fitted.append(size)
  return tuple(fitted)


def partition(
  x: Float[Array, "b t h w d"], window: Grid
) -> Float[Array, "b2 n d"]:
  """Tokens by window; windows lie in the batch axis."""
  i, j, k = window
  return einops.rearrange(
    x, "b (t i) (h j) (w k) d -> (b t h w) (i j k) d", i=i, j=j, k=k
  )


def merge(
  x: Float[Array, "b2 n d"], window: Grid, grid: Grid
) -> Float[Array, "b t h w d"]:
  """The inverse of `partition`."""
  t, h, w = (n // size for n, size in zip(grid, window, strict=True))
  i, j, k = window
  return einops.rearrange(
    x,
    "(b t h w) (i j k) d -> b (t i) (h j) (w k) d",
    t=t, h=h, w=w, i=i, j=j, k=k,
  )  # fmt: skip
