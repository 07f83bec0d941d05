"""Named sizes of the diffusion transformer.

The two sizes of the study (arXiv 2502.07001) are known by their parameter
counts only; depth and width are not stated. Ours: 22 blocks of width 1024 for
284 M (W.A.L.T-L, arXiv 2312.06662, has 24 of them for 313 M) and 24 blocks of
width 2560 for 1.9 B. Depths are even, since blocks come in pairs.
"""

import dataclasses

from vdr.runtime import errors


@dataclasses.dataclass(frozen=True)
class Size:
  """Depth and width of a transformer; the MLP is 4 times as wide."""

  depth: int
  width: int
  num_heads: int

  @property
  def head_dim(self) -> int:
    return self.width // self.num_heads

  @property
  def mlp_width(self) -> int:
    return 4 * self.width


SIZES = {
  "micro": Size(depth=2, width=64, num_heads=2),  # for tests and `:debug`
  "mini": Size(depth=4, width=96, num_heads=3),
  "tiny": Size(depth=4, width=128, num_heads=4),
  "small": Size(depth=12, width=384, num_heads=6),
  "base": Size(depth=12, width=768, num_heads=12),
  "walt_284m": Size(depth=22, width=1024, num_heads=16),
  "walt_1p9b": Size(depth=24, width=2560, num_heads=20),
}


def size_of(name: str) -> Size:
  """The size of that name.

  Raises:
    UserError: there is none.
  """
  if name not in SIZES:
    raise errors.UserError(
      f"config.model.size {name!r} is unknown; choose from {', '.join(SIZES)}"
    )
  return SIZES[name]
