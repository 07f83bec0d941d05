"""Plans for people."""

import pytest

from configs import study as study_config
from vdr.study import estimates, plan


@pytest.fixture(scope="module")
def cells():
  return plan.make(study_config.get_config("debug"))


def test_a_plan_has_a_line_for_each_cell_and_the_sum(cells, tmp_path):
  lines = estimates.table(cells, tmp_path).splitlines()
  assert len(lines) == len(cells) + 2
  for cell, line in zip(cells, lines[1:], strict=False):
    assert line.startswith(cell.name) and line.endswith("to run")
    for one in cell.inputs:
      assert one.name in line
  assert lines[-1].startswith(f"{len(cells)} cells to run: about ")
  folder = cells[0].folder(tmp_path)
  folder.mkdir(parents=True)
  (folder / "cell.json").write_text("{}")
  after = estimates.table(cells, tmp_path).splitlines()
  assert after[1].endswith("finished")
  assert after[-1].startswith(f"{len(cells) - 1} cells to run")


@pytest.mark.parametrize(
  ("field", "job"),
  [
    ("physics.num_clips.pretrain", "physics"),
    ("train.amount", "train"),
    ("probe.num_steps", "evaluate"),
  ],
)
def test_more_work_takes_longer(field, job):
  def total(factor):
    cfg = study_config.get_config("local")
    with cfg.unlocked():
      node, leaf = cfg, field.split(".")
      for name in leaf[:-1]:
        node = node[name]
      node[leaf[-1]] = node[leaf[-1]] * factor
    return sum(
      estimates.seconds(c) for c in plan.make(cfg) if c.config.job == job
    )

  assert total(4) > 2 * total(1) - 200 and total(4) > total(1)


def test_sizes_are_positive(cells):
  assert all(estimates.disk_bytes(cell) > 0 for cell in cells)
