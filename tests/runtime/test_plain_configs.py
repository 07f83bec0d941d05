"""Configs survive JSON."""

import json

from configs import video_dit
from vdr.runtime import plain_configs


def test_a_config_comes_back():
  cfg = video_dit.get_config("local")
  stored = json.loads(json.dumps(plain_configs.to_json(cfg)))
  found = plain_configs.from_json(stored)
  assert found.to_dict() == cfg.to_dict()
  assert isinstance(found.model.window_spatial, tuple)
  assert found.is_locked
