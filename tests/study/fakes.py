"""Verbs that take no time, and small graphs of them."""

import json
import pathlib
import types

import ml_collections

from vdr import verbs
from vdr.runtime.code import Code
from vdr.study import cells


class Fake(types.SimpleNamespace):
  """A verb that writes what it was asked, and what its inputs wrote."""

  SECTIONS = ("work",)

  def __init__(self):
    super().__init__(calls=[], fails=set(), stops=set())
    self.code = Code({"vdr.fake": "1"}, {"jax": "1.0"})
    self.stops_with: BaseException = KeyboardInterrupt()

  def run(self, config, workdir):
    path = pathlib.Path(workdir)
    path.mkdir(parents=True, exist_ok=True)
    name = config.work.name
    self.calls.append(name)
    if name in self.stops:
      self.stops.discard(name)
      raise self.stops_with
    if name in self.fails:
      raise self.fails_with(name)
    below = [
      json.loads((pathlib.Path(one) / "out.json").read_text())
      for one in (config.work.first, config.work.second)
      if one
    ]
    (path / "out.json").write_text(json.dumps([name, config.seed, *below]))

  def fails_with(self, name):
    from vdr.runtime import errors

    return errors.UserError(f"{name} can't be")


def use(monkeypatch):
  """Puts a fake in the place of all verbs."""
  fake = Fake()
  monkeypatch.setattr(verbs, "module", lambda job: fake)
  monkeypatch.setattr(verbs, "code", lambda job: fake.code)
  return fake


def cell(name, *inputs, seed=0, about=None, **work):
  """A cell of the fake verb."""
  names = [f"@{one.name}" for one in inputs] + ["", ""]
  fields = dict(name=name, first=names[0], second=names[1], **work)
  config = ml_collections.ConfigDict(
    dict(job="fake", seed=seed, work=fields, unrelated=dict(x=1))
  )
  return cells.make(
    name, config, {one.name: one for one in inputs}, about or {"role": name}
  )


def diamond(**work):
  """a → b, c → d."""
  a = cell("a", **work)
  b, c = cell("b", a), cell("c", a)
  return [a, b, c, cell("d", b, c)]
