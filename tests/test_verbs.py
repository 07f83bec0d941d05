"""The table of verbs."""

import pytest

from vdr import verbs


@pytest.mark.parametrize("job", verbs.JOBS)
def test_every_verb_has_what_a_study_needs_of_it(job):
  module = verbs.module(job)
  assert callable(module.run)
  assert module.VERSION >= 1
  assert module.SECTIONS and all(isinstance(s, str) for s in module.SECTIONS)


def test_there_is_no_other_verb():
  with pytest.raises(KeyError, match="luck"):
    verbs.module("luck")
