"""What tests need and not every machine has.

Where it is missing they are skipped, but not in CI, which installs all of it: a
check that is skipped there would look as if it held.
"""

import importlib
import importlib.util
import os
from types import ModuleType

import pytest

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

libtpu = pytest.mark.skipif(
  importlib.util.find_spec("libtpu") is None and not IN_CI,
  reason="libtpu is not installed: source launch/setup.sh tpu",
)


def reference(name: str) -> ModuleType:
  """A module of the extra `metrics`, with which ours are compared."""
  try:
    return importlib.import_module(name)
  except ImportError as error:
    if IN_CI:
      raise
    pytest.skip(f"{error}: source launch/setup.sh dev,metrics")
