import dataclasses

import pytest

from configs import base
from tests.probes import clips
from vdr.probes import dense, heads, make, recurrent, tracking
from vdr.runtime import errors

WHERE = (clips.FRAME_TIMES, clips.NUM_FRAMES)


def config(**fields):
  cfg = base.probe()
  cfg.update_from_flattened_dict(fields)
  return cfg


def make_track(cfg, kind="points"):
  return make.track(
    cfg, kind, *WHERE, query_dim=4, names=("points_xy",), valid="ok"
  )


class TestPlan:
  def test_it_is_that_of_the_config(self):
    cfg = config(num_seeds=3, store_gb=1.5, step_mb=2.0, weight_decays=(0, 1))
    plan = make.plan(cfg, 7)
    assert plan.seeds == (0, 1, 2) and plan.root_seed == 7
    assert plan.store_bytes == 1_500_000_000 and plan.step_bytes == 2_000_000
    names = {field.name for field in dataclasses.fields(plan)}
    for name in names & set(cfg):
      if name not in ("batch_size",):
        assert getattr(plan, name) == cfg[name], name

  def test_kinds_of_heads_have_batches_of_their_own(self):
    cfg = config()
    assert make.plan(cfg, 0).batch_size == cfg.batch_size
    own = make.plan(cfg, 0, cfg.dense.batch_size)
    assert own.batch_size == cfg.dense.batch_size != cfg.batch_size

  def test_kinds_of_heads_have_steps_of_their_own(self):
    cfg = base.override(
      base.probe(), {"num_steps": 7, "track.num_steps": 9, "dense.num_steps": 0}
    )
    assert make.steps_of(cfg.track, cfg) == 9
    assert make.steps_of(cfg.dense, cfg) == 7

  def test_a_number_that_means_nothing_is_refused(self):
    with pytest.raises(errors.UserError, match="config.probe.num_steps is 0"):
      make.plan(config(num_steps=0), 0)


class TestHeads:
  def test_sizes_are_those_of_the_config(self):
    cfg = config(width=32, num_heads=4, places=False)
    head = make.attentive(cfg, 5, *WHERE)
    sizes = clips.sizes(width=32, num_heads=4, places=False)
    assert head == heads.Attentive(5, sizes)
    assert make.pose(cfg, *WHERE) == heads.Pose(sizes)

  def test_sizes_that_do_not_fit_are_refused(self):
    with pytest.raises(errors.UserError, match="no 3 heads"):
      make.attentive(config(num_heads=3), 5, *WHERE)
    with pytest.raises(errors.UserError, match="frame_times"):
      make.attentive(config(), 5, (0, 2), 5)

  def test_a_dense_head_draws_some_patches_or_all(self):
    fields = dict(frames=(0, 4), height=16, width=16, names=("depth_m",))
    cfg = config(**{"dense.queries_per_step": 16})
    head, draw = make.dense(cfg, *WHERE, **fields, mean=3.0)
    assert isinstance(head, dense.Dense) and head.mean == 3.0
    assert draw == dense.DrawPatches(head, 16, ("depth_m",))
    cfg = config(**{"dense.queries_per_step": 0})
    assert make.dense(cfg, *WHERE, **fields)[1] is None

  def test_trackers(self):
    head, draw = make_track(config())
    assert isinstance(head, tracking.Track)
    assert head.tile_frames == clips.NUM_FRAMES
    assert draw == tracking.DrawQueries(8, ("points_xy",), "ok")
    cfg = config(**{"track.kind": "recurrent", "track.queries_per_step": 0})
    head, draw = make_track(cfg, "boxes")
    assert isinstance(head, recurrent.Recurrent) and draw is None
    with pytest.raises(errors.UserError, match="'looped' is unknown"):
      make_track(config(**{"track.kind": "looped"}))
