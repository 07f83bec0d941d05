"""The verb that compiles for slices that are not there."""

import dataclasses
import json

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from configs import base, video_dit
from tests import needs
from vdr import compile as compile_lib
from vdr import compiled
from vdr.runtime import chips, errors

SMALL = {
  "topology": "v5e:2x2",
  "compile.clips": 2,
  "sample.batch_size": 2,
  "model.dtype": "bfloat16",
}


def make_config(**fields):
  changes = {k.replace("__", "."): v for k, v in fields.items()}
  return base.override(video_dit.get_config("debug"), SMALL | changes)


def make_report(**fields):
  given = dict(
    step="train",
    chips=4,
    clips=8,
    tokens=100,
    fits=False,
    hbm_bytes=16e9,
    needed_bytes=24e9,
    params_bytes=10**9,
    optimizer_bytes=10**9,
    temporary_bytes=22e9,
    flops=2e12,
    extra_flops=5e11,
    program_flops=0.0,
    collective_bytes={},
    collective_times={},
    async_share=0.0,
    memory_traffic_bytes=0.0,
    times=None,
    lowering_s=1.0,
    compile_s=2.0,
  )
  return compiled.Report(**(given | fields))


@pytest.mark.parametrize(
  ("message", "needed"),
  [
    (
      "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required"
      " for HLO temporaries (24.02G) exceeds available HBM (15.75G).",
      24.02 * 2**30,
    ),
    (
      "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.5G of"
      " 15.75G hbm. Exceeded hbm capacity by 4.75G.",
      20.5 * 2**30,
    ),
    ("RESOURCE_EXHAUSTED: something else", chips.CHIPS["v5e"].hbm_bytes),
  ],
)
def test_what_a_refused_program_needs(message, needed):
  assert compile_lib.needed_bytes(message, chips.CHIPS["v5e"]) == needed


def changes(report, sizes=None, **fields):
  sizes = {"data": 1, "fsdp": 4, "tensor": 1} | (sizes or {})
  cfg = make_config(data__batch_size=16, images__batch_size=16, **fields)
  return list(compile_lib.candidates(report.step, cfg, report, sizes))


def test_mends_are_tried_by_what_they_cost():
  assert changes(make_report()) == [
    {"model.remat": "block"},
    {"optimizer.accumulation_steps": 2},
    {"optimizer.accumulation_steps": 4},
    {"mesh.tensor": 2, "mesh.data": 1, "mesh.fsdp": -1},
    {"mesh.tensor": 4, "mesh.data": 1, "mesh.fsdp": -1},
  ]


def test_a_mend_that_is_there_already_is_not_tried():
  assert {"model.remat": "block"} not in changes(
    make_report(), model__remat="block"
  )


def test_parameters_that_are_too_large_are_shared_first():
  replicated = {"data": 4, "fsdp": 1}
  share = {"mesh.data": 1, "mesh.fsdp": -1}
  found = changes(make_report(params_bytes=9 * 10**9), replicated)
  assert found[0] == share and found.count(share) == 1
  found = changes(make_report(), replicated)
  assert found[0] != share and share in found


def test_calls_without_gradients_get_fewer_clips():
  assert changes(make_report(step="sample")) == [
    {"sample.batch_size": n} for n in (4, 2, 1)
  ]


@pytest.fixture
def compile_by(monkeypatch):
  """Replaces the compiler by a rule that says whether a config fits."""

  def replace(rule):
    tried = []

    def compile_step(name, config, devices, chip):
      tried.append(config)
      return make_report(fits=rule(config)), ""

    monkeypatch.setattr(compile_lib, "compile_step", compile_step)
    return tried

  return replace


def find(config, report):
  one = jax.devices()[:1]
  return compile_lib.find_mend(
    report.step, config, one, chips.CHIPS["v5e"], report
  )


def test_changes_add_up_until_the_step_fits(compile_by):
  tried = compile_by(lambda c: c.optimizer.accumulation_steps == 2)
  found = find(make_config(), make_report())
  assert found == {"model.remat": "block", "optimizer.accumulation_steps": 2}
  assert [c.model.remat for c in tried] == ["block", "block"]


def test_only_so_many_are_tried(compile_by):
  tried = compile_by(lambda c: False)
  assert find(make_config(compile__max_candidates=1), make_report()) == {}
  assert len(tried) == 1


def test_a_complaint_names_the_size_and_the_mend():
  report = make_report(mend={"model.remat": "block"})
  found = compiled.complaint(report)
  assert "24.0 GB of a chip's 16.0 GB, 8.0 GB too much" in found
  assert "it fits with --config.model.remat=block" in found
  assert "more chips" in compiled.complaint(make_report())


@pytest.mark.parametrize(
  ("fields", "word"),
  [
    (dict(topology=""), "topology is empty"),
    (dict(topology="v5e:2x2x2"), "2 sides"),
    (dict(compile__steps=("train", "dance")), "choose from train, extract"),
  ],
)
def test_bad_fields_are_refused(fields, word, tmp_path):
  with pytest.raises(errors.UserError, match=word):
    compile_lib.run(make_config(**fields), tmp_path / "run")


@pytest.fixture
def no_cache():
  before = jax.config.jax_enable_compilation_cache
  yield
  jax.config.update("jax_enable_compilation_cache", before)
  compilation_cache.reset_cache()


@needs.libtpu
def test_extraction_is_compiled_for_a_real_slice(tmp_path, capsys, no_cache):
  config = make_config(compile__steps=("extract",), compile__save_hlo=True)
  compile_lib.run(config, tmp_path)
  found = json.loads((tmp_path / compile_lib.NAME).read_text())
  (step,) = found["steps"]
  assert found["chips"] == 4 and step["chips"] == 1
  assert step["fits"] and 0 < step["needed_bytes"] < step["hbm_bytes"]
  assert step["flops"] > 0 and step["memory_traffic_bytes"] > 0
  assert step["collective_bytes"] == {}  # one chip has nobody to send to
  assert 0 < step["times"]["roofline_s"] <= step["times"]["predicted_s"]
  assert "is_scheduled=true" in (tmp_path / "extract.hlo.txt").read_text()
  assert "extract: 2 clips" in capsys.readouterr().out


@needs.libtpu
def test_a_step_that_is_too_large_is_refused(tmp_path, monkeypatch, no_cache):
  small = dataclasses.replace(chips.CHIPS["v5e"], hbm_bytes=1e4)
  monkeypatch.setitem(chips.CHIPS, "v5e", small)
  config = make_config(compile__steps=("extract",), compile__max_candidates=0)
  with pytest.raises(errors.UserError, match="step extract needs .* too much"):
    compile_lib.run(config, tmp_path)
  found = json.loads((tmp_path / compile_lib.NAME).read_text())
  assert not found["steps"][0]["fits"]


@needs.libtpu
@pytest.mark.slow
def test_training_is_shared_by_the_chips_of_a_slice(no_cache):
  config = make_config(
    model__scan=True,
    model__remat="block",
    data__batch_size=4,
    images__batch_size=4,
    mesh__data=1,
    mesh__fsdp=-1,
  )
  compile_lib.use_no_device()
  devices = chips.devices(config.topology)
  # The gradient of JAX's own attention mixes types.
  with jax.numpy_dtype_promotion("standard"):
    report, _ = compile_lib.compile_step(
      "train", config, devices, chips.CHIPS["v5e"]
    )
  assert report.fits and report.chips == 4
  # Parameters are gathered, gradients are scattered.
  assert report.collective_bytes["all-gather"] > 0
  assert report.collective_bytes["reduce-scatter"] > 0
  # A quarter of the parameters, but for the few that are not split.
  assert report.optimizer_bytes == pytest.approx(
    3 * report.params_bytes, rel=0.1
  )


@needs.libtpu
@pytest.mark.parametrize(
  "remat",
  [
    pytest.param("none", marks=pytest.mark.slow),
    pytest.param("block", marks=pytest.mark.slow),
    "dots",
  ],
)
def test_the_compiled_step_computes_what_is_told(no_cache, remat):
  """Products that a policy does not see, and so computes again, would show."""
  config = make_config(model__remat=remat, model__size="mini")
  compile_lib.use_no_device()
  devices = chips.devices(config.topology)[:1]
  with jax.numpy_dtype_promotion("standard"):
    report, _ = compile_lib.compile_step(
      "train", config, devices, chips.CHIPS["v5e"]
    )
  told = report.flops + report.extra_flops
  assert report.program_flops == pytest.approx(told, rel=0.02)


@needs.libtpu
@pytest.mark.slow
@pytest.mark.parametrize("tensor", [1, 2])
def test_the_kernel_runs_on_the_windows_and_heads_of_a_chip(no_cache, tensor):
  """Else every chip would gather and compute all of them."""
  config = base.override(
    video_dit.get_config("walt_284m"),
    {
      "topology": "v5e:2x2",
      "model.size": "small",
      "data.batch_size": 4,
      "images.batch_size": 4,
      "mesh.data": -1,
      "mesh.fsdp": 1,
      "mesh.tensor": tensor,
    },
  )
  compile_lib.use_no_device()
  devices = chips.devices(config.topology)
  with jax.numpy_dtype_promotion("standard"):
    report, text = compile_lib.compile_step(
      "train", config, devices, chips.CHIPS["v5e"]
    )
  assert "tpu_custom_call" in text
  told = report.flops + report.extra_flops
  assert report.program_flops == pytest.approx(told, rel=0.02)
