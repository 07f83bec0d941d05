"""Exact parameter counts of the named sizes."""

import pytest

from configs import base
from vdr.models import dit, sizes
from vdr.runtime import errors

# Of the default config with the 8 channels of the paper's tokenizer.
COUNTS = {
  "micro": 148_424,
  "mini": 543_528,
  "tiny": 949_896,
  "small": 22_483_592,
  "base": 89_497_352,
  "walt_284m": 284_978_952,
  "walt_1p9b": 1_935_465_992,
}


def config(size: str, positions: str = "rope"):
  cfg = base.model()
  cfg.update(dict(size=size, positions=positions, latent_channels=8))
  return cfg


@pytest.mark.parametrize("name", sizes.SIZES)
def test_the_count_is_known(name):
  assert dit.num_params(config(name)) == COUNTS[name]


@pytest.mark.parametrize("positions", ["rope", "learned"])
def test_the_study_has_the_paper_s_sizes(positions):
  small = dit.num_params(config("walt_284m", positions))
  large = dit.num_params(config("walt_1p9b", positions))
  assert small == pytest.approx(284e6, rel=0.01)
  assert large == pytest.approx(1.9e9, rel=0.02)


@pytest.mark.parametrize("size", sizes.SIZES.values(), ids=sizes.SIZES)
def test_blocks_come_in_pairs_and_heads_in_rotations(size):
  assert size.depth % 2 == 0
  assert size.num_heads * size.head_dim == size.width
  # A channel pair for each axis at least.
  assert size.head_dim % 2 == 0 and size.head_dim >= 16


def test_an_unknown_size_names_the_known_ones():
  with pytest.raises(errors.UserError, match="'large' is unknown.*walt_284m"):
    sizes.size_of("large")
