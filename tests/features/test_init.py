"""The names that other packages use."""

from vdr import features


def test_every_name_is_there():
  for name in features.__all__:
    assert hasattr(features, name)
