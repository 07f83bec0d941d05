"""Chips and the slices they come in."""

import importlib.util

import pytest

from vdr.runtime import chips, errors


@pytest.mark.parametrize(
  ("topology", "count"),
  [("v5e:4x4", 16), ("v6e:16x16", 256), ("v5p:4x4x4", 64)],
)
def test_a_topology_is_a_chip_and_a_number(topology, count):
  chip, found = chips.parse(topology)
  assert (chip.name, found) == (topology.partition(":")[0], count)


@pytest.mark.parametrize(
  ("topology", "word"),
  [
    ("", "unknown"),
    ("v5e", "for example v5e:4x4"),
    ("v9:4x4", "v5e, v5p, v6e"),
    ("v5e:0x4", "unknown"),
    ("v5e:4xfour", "unknown"),
    ("v5e:4x4x4", "2 sides"),
    ("v5p:4x4", "v5p:4x4x4"),
  ],
)
def test_what_is_no_topology(topology, word):
  with pytest.raises(errors.UserError, match=word):
    chips.parse(topology)


def test_published_numbers():
  v5e, v5p, v6e = (chips.CHIPS[name] for name in ("v5e", "v5p", "v6e"))
  assert [c.peak_flops / 1e12 for c in (v5e, v5p, v6e)] == [197, 459, 918]
  assert [c.ici_bytes_per_s / 1e9 for c in (v5e, v5p, v6e)] == [200, 600, 448]


def test_without_libtpu_its_installation_is_named(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(errors.UserError, match=r"pip install jax\[tpu\]"):
    chips.devices("v5e:2x2")
