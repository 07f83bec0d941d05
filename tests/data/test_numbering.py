"""Two sources that number classes differently get one numbering."""

import pickle

import numpy as np
import pytest

from tests.data import fakes
from vdr.data import numbering
from vdr.data import source as source_lib
from vdr.runtime import errors

RNG = np.random.default_rng(0)


class Named(fakes.Alone):
  """Item i is of class i; the last one has no label."""

  def __init__(self, *names):
    self.names = names

  def __len__(self):
    return len(self.names) + 1

  @property
  def class_names(self):
    return {"label": self.names} if self.names else {}

  def clip_id(self, index):
    return f"{index}"

  def contents(self, most=None):
    return source_lib.Contents({}, {"label": np.arange(1, len(self))})

  def read(self, index, rng):
    label = index if index < len(self.names) else -1
    return {"label": np.array(label, np.int32)}


def labels(source):
  """The label of each item, by its name in the whole."""
  names = source.class_names["label"]
  found = [int(source.read(i, RNG)["label"]) for i in range(len(source))]
  return [names[i] if i >= 0 else None for i in found]


def unite(**sources):
  return numbering.unite({k: Named(*names) for k, names in sources.items()})


def test_cat_and_bird_are_not_both_class_0():
  found = unite(a=("cat", "dog"), b=("bird", "cat"), c=())
  for name in ("a", "b"):
    assert found[name].class_names == {"label": ("bird", "cat", "dog")}
  assert labels(found["a"]) == ["cat", "dog", None]
  assert labels(found["b"]) == ["bird", "cat", None]
  assert found["a"].read(1, RNG)["label"] == 2
  assert found["a"].contents().counts["label"].tolist() == [0, 1, 2]
  again = pickle.loads(pickle.dumps(found["a"]))
  assert labels(again) == labels(found["a"])
  assert found["c"].class_names == {}


def test_numbers_of_a_source_that_knows_all_classes_hold():
  found = unite(a=("walk", "run", "jump"), b=("jump",))
  assert found["b"].class_names["label"] == ("walk", "run", "jump")
  assert labels(found["b"]) == ["jump", None]
  numbers = tuple(map(str, range(12)))
  assert labels(unite(a=numbers[:3], b=numbers)["a"])[:3] == ["0", "1", "2"]


def test_sources_that_agree_are_left_alone():
  source = Named("cat", "dog")
  assert numbering.unite({"a": source, "b": Named("cat", "dog")})["a"] is source


def test_names_and_numbers_can_not_be_united():
  with pytest.raises(errors.UserError, match="classes.txt") as caught:
    unite(a=("cat", "dog"), b=("0", "1"))
  assert "'b'" in str(caught.value) and "\n" not in str(caught.value)
