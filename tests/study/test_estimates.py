"""Plans for people."""

import pytest

from configs import study as study_config
from vdr.models import dit
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
  """In proportion, but for what every start takes."""

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

  once = total(2) - total(1)
  assert once > 0.1 * total(1)
  assert total(5) - total(2) == pytest.approx(3 * once)


def bytes_of(job, **fields):
  cfg = study_config.get_config("debug")
  with cfg.unlocked():
    cfg.update_from_flattened_dict(fields)
  found = [c for c in plan.make(cfg) if c.config.job == job]
  return found[0], estimates.disk_bytes(found[0])


def test_clips_need_room_by_their_pixels():
  _, small = bytes_of("physics")
  _, large = bytes_of(
    "physics", **{"physics.height": 64, "physics.num_clips.pretrain": 32 + 72}
  )
  assert large == pytest.approx(2 * 2 * small)  # of 72 clips, 144
  assert 72 * 17 * 32 * 32 < small < 72 * 17 * 32 * 32 * 3  # compressed


def test_a_checkpoint_is_the_model_its_moments_and_averages():
  cell, found = bytes_of("train")
  cfg = cell.config
  copies = 3 + len(cfg.optimizer.ema_decays)
  kept = cfg.saving.keep_last + len(cfg.saving.budgets_percent)
  expected = 4 * dit.num_params(cfg.model) * copies * kept
  assert expected / 2 < found <= expected
