"""Marks of tests that need what not every machine has."""

import importlib.util

import pytest

libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None,
  reason="libtpu is not installed: source launch/setup.sh tpu",
)
