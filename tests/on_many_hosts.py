"""vdr with a source two of whose clips can't be read, as one of several hosts.

The launcher starts it in place of `vdr.main` (tests/test_evaluate_hosts.py).
"""

import sys

from vdr import main
from vdr.data import source as source_lib

BAD = {"train": (5,), "select": (), "test": (9,)}  # clips, by split


class Flaky:
  """A source that lacks some clips."""

  def __init__(self, cfg, source):
    self._source, self._bad = source, BAD.get(cfg.split, ())

  def __getattr__(self, name):
    return getattr(self._source, name)

  def __len__(self):
    return len(self._source)

  def read(self, index, rng):
    if index in self._bad:
      raise source_lib.BadClipError("the disk has a hole here")
    return self._source.read(index, rng)


if __name__ == "__main__":
  opened = source_lib.open_source
  source_lib.open_source = lambda cfg: Flaky(cfg, opened(cfg))
  sys.exit(main.main(sys.argv))
