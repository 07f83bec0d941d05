"""What the check of configs lets pass: the verbs themselves cope with it.

Each case is a process of its own, `python -m vdr.main`. The seed is fixed: what
fails once fails again. VDR_MUTATIONS: how many fields of a config are mutated.
"""

import collections
import os

import pytest

from tests.configs import mutations
from tests.configs.test_mutations import NAMES, debug
from vdr import verbs

COUNT = int(os.environ.get("VDR_MUTATIONS", "8"))
LIMIT_S = float(os.environ.get("VDR_MUTATION_S", "300"))

# What a debug config reads, by field: a config whose result that is.
READS = {
  "evaluate": {"checkpoint": "video_dit"},
  "extract": {"checkpoint": "video_dit"},
  "generation": {
    "checkpoint": "video_dit",
    "generation.judge": "judge/judge.npz",
  },
  "look": {"checkpoint": "video_dit"},
  "report": {"report.study": "study"},
  "sample": {"checkpoint": "video_dit"},
}
# Sections that decide no result, and can end a run all the same.
ELSEWHERE = ("runtime", "log", "saving", "hosts", "runner", "mesh")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
  """The options that name what a config reads, which is made when needed."""
  folder, made = tmp_path_factory.mktemp("made"), set()

  def options(name):
    reads = READS.get(name, {})
    for source in {path.partition("/")[0] for path in reads.values()} - made:
      found = mutations.outcome(
        f"configs/{source}.py:debug", [], LIMIT_S, folder / source
      )
      assert found == "ran", found
      made.add(source)
    return [mutations.option(k, folder / path) for k, path in reads.items()]

  return options


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_verb_ends_well_or_in_one_line(name, inputs, tmp_path):
  config = debug(name)
  job = str(config.job)
  sections = () if job == "study" else verbs.module(job).SECTIONS + ELSEWHERE
  counts, bad = collections.Counter(), {}
  given = inputs(name)
  for i, case in enumerate(
    mutations.draw(config, COUNT, f"{name} in verbs", sections)
  ):
    option = mutations.option(*case)
    found = mutations.outcome(
      f"configs/{name}.py:debug",
      [*given, option],
      LIMIT_S,
      tmp_path / f"{i}",
    )
    counts[found.partition(":")[0]] += 1
    if found not in mutations.GOOD:
      bad[option] = found
  print(name, dict(counts))
  assert not bad, "\n\n".join(f"{k}: {v}" for k, v in bad.items())
