"""The paper's gains stand beside tasks that there are."""

from vdr import tasks
from vdr.report import paper, words


def test_gains_are_of_known_tasks_and_shares():
  assert set(paper.GAINS) == set(words.TASKS) <= set(tasks.TASKS)
  assert all(
    0 < known.gain < 1 and known.data for known in paper.GAINS.values()
  )


def test_tasks_are_called_as_they_call_themselves():
  classes = {"shape": ("a", "b"), "action": ("a", "b")}
  for name, title in words.TASKS.items():
    assert tasks.make(name, classes, 17).title == title
