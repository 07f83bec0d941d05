"""The table of verbs."""

import types

import pytest

from tests import many_hosts
from vdr import verbs


@pytest.mark.parametrize("job", verbs.JOBS)
def test_every_verb_has_what_a_study_needs_of_it(job):
  module = verbs.module(job)
  assert callable(module.run)
  assert module.SECTIONS and all(isinstance(s, str) for s in module.SECTIONS)


@pytest.mark.parametrize(
  ("job", "ran"), [("train", [0, 1, 2]), ("tokenizer", [0])]
)
def test_who_knows_no_other_hosts_is_the_first_ones(monkeypatch, job, ran):
  found = []
  verb = types.SimpleNamespace(run=lambda index, workdir: found.append(index))
  monkeypatch.setattr(verbs, "module", lambda job: verb)
  many_hosts.run(monkeypatch, 3, lambda index: verbs.run(job, index, "run"))
  assert sorted(found) == ran


def test_shared_verbs_are_verbs():
  assert set(verbs.SHARED) < set(verbs.JOBS)


def test_there_is_no_other_verb():
  with pytest.raises(KeyError, match="luck"):
    verbs.module("luck")
