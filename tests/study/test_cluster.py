"""Cells on clusters: the command, the jobs, and what is missing."""

import json
import shlex
import sys

import pytest

from configs import study as study_config
from tests.study import fakes
from vdr.runtime import command_line, errors, plain_configs
from vdr.runtime import workdir as workdirs
from vdr.study import cluster


@pytest.fixture(autouse=True)
def fake(monkeypatch):
  return fakes.use(monkeypatch)


def config(**fields):
  cfg = study_config.get_config("debug")
  with cfg.unlocked():
    cfg.update_from_flattened_dict(
      {k.replace("__", "."): v for k, v in fields.items()}
    )
  return cfg


def test_the_command_means_that_cell_of_that_study(tmp_path):
  text = json.dumps(plain_configs.to_json(config()))
  (tmp_path / workdirs.CONFIG_NAME).write_text(text)
  words = shlex.split(cluster.command(fakes.cell("a"), tmp_path))
  assert words[:3] == ["python", "-m", "vdr.main"]
  found, workdir = command_line.parse(words[2:])
  assert workdir == str(tmp_path)
  assert (found.job, found.runner.kind) == ("study", "work")
  assert found.runner.only == ("a",)
  assert found.evaluate == config().evaluate


def test_every_cell_is_a_job_of_its_own():
  cfg = config(
    runner__kubernetes__image="vdr:1", runner__kubernetes__claim="disk"
  )
  cells = fakes.diamond()
  listed = json.loads(cluster.job_list(cells, cfg))
  assert listed["kind"] == "List"
  names = [item["metadata"]["name"] for item in listed["items"]]
  assert len(set(names)) == 4 and all("_" not in n for n in names)
  for cell, item in zip(cells, listed["items"], strict=True):
    spec = item["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["command"] == cluster.arguments(cell, "/study")
    (mount,) = container["volumeMounts"]
    (volume,) = spec["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["persistentVolumeClaim"] == {"claimName": "disk"}
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}


@pytest.mark.parametrize("name", ["image", "claim"])
def test_jobs_need_an_image_and_a_disk(name):
  given = {"image": "x", "claim": "y"} | {name: ""}
  cfg = config(**{f"runner__kubernetes__{k}": v for k, v in given.items()})
  with pytest.raises(errors.UserError, match=f"kubernetes.{name} is empty"):
    cluster.job_list([], cfg)


def test_an_unknown_cluster_is_refused(tmp_path):
  cfg = config(runner__submitit__cluster="cloud")
  with pytest.raises(errors.UserError, match="'cloud' is unknown"):
    list(cluster.submit(cfg, tmp_path, print))


def test_without_submitit_it_says_how_to_get_it(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "submitit", None)
  with pytest.raises(errors.UserError, match="pip install submitit"):
    list(cluster.submit(config(), tmp_path, print))
