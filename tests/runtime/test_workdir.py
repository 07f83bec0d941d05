"""A work directory has one config and one process, and no half-written file."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import ml_collections
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import base
from vdr.runtime import errors, workdir


def config(**fields):
  tree = {"seed": 0, "sizes": (1, 2), "runtime": {"num_workers": 2}}
  return ml_collections.ConfigDict(tree | fields)


def claim(path, cfg):
  return workdir.claim(path, cfg, [name for name in cfg if name != "runtime"])


def refusal(path, cfg):
  with pytest.raises(errors.UserError) as caught:
    claim(path, cfg)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def test_only_the_named_sections_are_compared(tmp_path):
  first = config(physics={"height": 64}, preview={"columns": 2})
  workdir.claim(tmp_path, first, ("physics",))
  other = config(physics={"height": 64}, preview={"columns": 3}, new=1)
  workdir.claim(tmp_path, other, ("physics",))
  for changed in (config(physics={"height": 32}), config(seed=1)):
    with pytest.raises(errors.UserError, match="another config"):
      workdir.claim(tmp_path, changed, ("physics",))


def visible(path):
  return sorted(p.name for p in path.iterdir() if p.name != workdir.LOCK_NAME)


def start(script, *args):
  """Starts a Python process that prints a line when it is where we want it."""
  process = subprocess.Popen(
    [sys.executable, "-c", textwrap.dedent(script), *map(str, args)],
    stdout=subprocess.PIPE,
    text=True,
  )
  assert process.stdout is not None
  assert process.stdout.readline() == "ready\n"
  return process


def kill(process):
  process.send_signal(signal.SIGKILL)
  process.wait()
  process.stdout.close()


class TestClaim:
  def test_a_new_directory_is_made_and_gets_the_config(self, tmp_path):
    path = claim(tmp_path / "a" / "b", config())
    assert path == tmp_path / "a" / "b"
    stored = json.loads((path / workdir.CONFIG_NAME).read_text())
    assert stored == json.loads(config().to_json())
    assert visible(path) == [workdir.CONFIG_NAME]

  def test_the_same_config_goes_on(self, tmp_path):
    claim(tmp_path, config())
    (tmp_path / "result").touch()
    before = (tmp_path / workdir.CONFIG_NAME).stat().st_mtime_ns
    assert claim(str(tmp_path), config()) == tmp_path
    assert (tmp_path / workdir.CONFIG_NAME).stat().st_mtime_ns == before

  def test_a_list_and_a_tuple_are_the_same(self, tmp_path):
    claim(tmp_path, config(sizes=(1, 2)))
    claim(tmp_path, config(sizes=[1, 2]))

  @pytest.mark.parametrize("value", [float("nan"), float("inf"), None, ""])
  def test_any_value_is_the_same_as_itself(self, tmp_path, value):
    claim(tmp_path, config(limit=value))
    claim(tmp_path, config(limit=value))

  def test_runtime_fields_may_differ(self, tmp_path):
    claim(tmp_path, config())
    claim(tmp_path, config(runtime={"num_workers": 5}))

  def test_another_config_is_refused_with_the_field(self, tmp_path):
    claim(tmp_path, config())
    message = refusal(tmp_path, config(seed=3))
    assert str(tmp_path) in message
    assert "there seed is 0, here 3;" in message
    assert "choose another --workdir" in message

  def test_fields_that_differ_are_counted(self, tmp_path):
    claim(tmp_path, config())
    message = refusal(tmp_path, config(seed=3, sizes=(1,), more=1))
    assert "there more is absent, here 1 and 2 more;" in message

  def test_a_field_that_did_not_exist_yet_had_its_default(self, tmp_path):
    started = base.default()
    stored = tmp_path / workdir.CONFIG_NAME
    workdir.claim(tmp_path, started, ("model", "data"))
    tree = json.loads(stored.read_text())
    del tree["model"]["patch"], tree["data"]["sources"]["main"]["stride"]
    stored.write_text(json.dumps(tree))
    workdir.claim(tmp_path, started, ("model", "data"))
    changed = base.default()
    changed.data.sources.main.stride = 2
    with pytest.raises(errors.UserError, match=r"stride is 1, here 2;"):
      workdir.claim(tmp_path, changed, ("model", "data"))

  def test_a_source_more_or_less_is_another_config(self, tmp_path):
    started, more = base.default(), base.default()
    with more.unlocked():
      more.data.sources.extra = (
        more.data.sources.main.copy_and_resolve_references()
      )
    for i, (first, second) in enumerate(((started, more), (more, started))):
      workdir.claim(tmp_path / str(i), first, ("data",))
      with pytest.raises(errors.UserError, match=r"data.sources.extra.*absent"):
        workdir.claim(tmp_path / str(i), second, ("data",))

  def test_a_field_that_is_gone_has_no_say_but_is_named(self, tmp_path, caplog):
    cfg = base.default()
    stored = tmp_path / workdir.CONFIG_NAME
    workdir.claim(tmp_path, cfg, ("model",))
    tree = json.loads(stored.read_text())
    tree["model"]["flux"] = 3
    tree["judge"]["gone"] = 4  # not compared, so not named
    stored.write_text(json.dumps(tree))
    workdir.claim(tmp_path, cfg, ("model",))
    (record,) = caplog.records
    assert record.getMessage().endswith("do not exist any more: model.flux=3")

  def test_a_bool_is_no_number(self, tmp_path):
    claim(tmp_path, config(flip=1))
    assert "there flip is 1, here True" in refusal(tmp_path, config(flip=True))

  def test_a_foreign_directory_is_refused_and_left_alone(self, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    assert "thesis.tex" in refusal(tmp_path, config())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]

  def test_an_empty_directory_is_taken(self, tmp_path):
    claim(tmp_path, config())
    assert visible(tmp_path) == [workdir.CONFIG_NAME]

  def test_a_start_killed_before_its_config_was_written_is_taken(
    self, tmp_path
  ):
    (tmp_path / ".config.json.0123abcd.tmp.json").write_text("{")
    claim(tmp_path, config())

  def test_a_file_is_refused(self, tmp_path):
    path = tmp_path / "file"
    path.touch()
    assert f"--workdir={path} is a file" in refusal(path, config())

  def test_a_directory_below_a_file_is_refused(self, tmp_path):
    (tmp_path / "file").touch()
    assert "can't be used" in refusal(tmp_path / "file" / "x", config())

  @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
  def test_a_directory_without_write_permission_is_refused(self, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(tmp_path / "x", config())

  def test_a_failing_write_is_told(self, tmp_path, monkeypatch):
    def fail(path, text):
      raise OSError(28, "No space left on device")

    monkeypatch.setattr(workdir, "write_text", fail)
    assert "No space left on device" in refusal(tmp_path, config())

  def test_a_config_that_is_no_json_is_told(self, tmp_path):
    (tmp_path / workdir.CONFIG_NAME).write_text("{")
    assert "is no JSON" in refusal(tmp_path, config())

  def test_an_address_is_refused(self):
    assert "gs://bucket/x" in refusal("gs://bucket/x", config())
    assert not pathlib.Path("gs:").exists()

  def test_a_tilde_is_the_home_directory(self, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert claim("~/runs", config()) == tmp_path / "runs"

  @given(
    st.dictionaries(
      st.text(st.characters(exclude_characters="."), min_size=1),
      st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    )
  )
  def test_every_config_can_be_gone_on_with(self, tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("any")
    cfg = ml_collections.ConfigDict({"fields": fields})
    claim(path, cfg)
    claim(path, cfg)


OWNER = """
  import sys, time
  import ml_collections
  from vdr.runtime import workdir
  tree = {"seed": 0, "sizes": (1, 2), "runtime": {"num_workers": 2}}
  workdir.claim(sys.argv[1], ml_collections.ConfigDict(tree), list(tree))
  print("ready", flush=True)
  time.sleep(60)
"""


def test_only_one_process_at_a_time(tmp_path):
  owner = start(OWNER, tmp_path)
  try:
    message = refusal(tmp_path, config())
    assert f"in use by another vdr (process {owner.pid})" in message
  finally:
    kill(owner)
  claim(tmp_path, config())  # however the other one ended


class TestAtomicPath:
  def test_the_file_appears_on_success_only(self, tmp_path):
    path = tmp_path / "a.json"
    with workdir.atomic_path(path) as temporary:
      assert temporary.parent == tmp_path  # the same file system
      assert temporary.suffix == ".json"  # writers look at it
      temporary.write_text("new")
      assert not path.exists()
    assert path.read_text() == "new"
    assert visible(tmp_path) == ["a.json"]

  @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
  def test_an_exception_leaves_the_old_content(self, tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(error), workdir.atomic_path(path) as temporary:
      temporary.write_text("half")
      raise error
    assert path.read_text() == "old"
    assert visible(tmp_path) == ["a"]

  def test_two_writers_do_not_meet(self, tmp_path):
    path = tmp_path / "a"
    with workdir.atomic_path(path) as one, workdir.atomic_path(path) as two:
      one.write_text("one")
      two.write_text("two")
    assert path.read_text() == "one"  # the last to finish
    assert visible(tmp_path) == ["a"]

  def test_permissions_follow_the_umask(self, tmp_path):
    old = os.umask(0o027)
    try:
      workdir.write_text(tmp_path / "a", "x")
    finally:
      os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640

  def test_a_kill_leaves_the_old_content_and_a_leftover(self, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    writer = start(
      """
      import pathlib, sys, time
      from vdr.runtime import workdir
      with workdir.atomic_path(pathlib.Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
      """,
      path,
    )
    kill(writer)
    assert path.read_text() == "old"
    assert len(visible(tmp_path)) == 2
    workdir.remove_leftovers(tmp_path)
    assert visible(tmp_path) == ["a.txt"]


def test_only_leftovers_are_removed(tmp_path):
  keep = [".tmp", ".lock", ".a.tmp", "a.0123abcd.tmp", "a", ".git.tmpl"]
  for name in [*keep, ".a.0123abcd.tmp", ".b.npz.89ef0123.tmp.npz"]:
    (tmp_path / name).touch()
  workdir.remove_leftovers(tmp_path)
  assert sorted(p.name for p in tmp_path.iterdir()) == sorted(keep)


@pytest.mark.parametrize(
  ("path", "problem"),
  [
    ("/data/back\\slash/run", "backslash"),
    ("/data/logs:/run", 'ends in "gs:"'),
    ("/data/run:gs:", 'ends in "gs:"'),
    ("/s3/run", "lies in /s3/"),
    ("/data/s3/run", None),
    ("/data/take:1/run", None),
    ("/data/gs/a b#?%20", None),
  ],
)
def test_names_that_libraries_take_for_others_are_refused(path, problem):
  found = workdir.name_problem(pathlib.Path(path))
  assert found is None if problem is None else problem in found
