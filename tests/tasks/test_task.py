"""What all tasks have in common."""

import dataclasses

import pytest

from vdr import tasks
from vdr.data import schema
from vdr.data.physics import clip
from vdr.tasks import task

CLASSES = {**clip.CLASS_NAMES, "label": ("a", "b")}


@pytest.mark.parametrize("name", tuple(tasks.TASKS))
def test_a_task_says_what_it_reads_and_what_decides(name):
  one = tasks.make(name, CLASSES, 17)
  assert isinstance(one, task.Task)
  assert one.name == name and one.title
  assert set(one.fields) <= set(schema.FIELDS)
  assert dataclasses.replace(one) == one  # equal tasks are one task
