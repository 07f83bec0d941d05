"""State dicts without PyTorch: both formats, strides, and what is refused."""

import collections
import io
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest

from vdr.models import state_dict

EXPECTED = {
  "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
  "a.turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
  "b.count": np.array(7, np.int64),
}


@pytest.fixture(autouse=True)
def torch(monkeypatch):
  """Names that a pickle of PyTorch asks for; they are never called here."""
  modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}
  for storage in ("FloatStorage", "LongStorage"):
    made = type(storage, (), {"__module__": "torch", "__qualname__": storage})
    setattr(modules["torch"], storage, made)

  def _rebuild_tensor_v2(*args):
    raise AssertionError

  _rebuild_tensor_v2.__module__ = "torch._utils"
  _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
  modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
  for name, module in modules.items():
    monkeypatch.setitem(sys.modules, name, module)
  return modules["torch"]


class Storage:
  def __init__(self, kind, key, size):
    self.pid = ("storage", kind, key, "cpu", size)


class Tensor:
  def __init__(self, storage, offset, shape, strides):
    self.args = (storage, offset, shape, strides, False, {})

  def __reduce__(self):
    return sys.modules["torch._utils"]._rebuild_tensor_v2, self.args


class Pickler(pickle.Pickler):
  legacy = False

  def persistent_id(self, obj):
    if isinstance(obj, Storage):
      return (*obj.pid, None) if self.legacy else obj.pid
    return None


def tensors(torch, offset=1):
  floats = Storage(torch.FloatStorage, "0", 7)
  found = collections.OrderedDict()
  found["a.weight"] = Tensor(floats, offset, (2, 3), (3, 1))
  found["a.turned"] = Tensor(floats, offset, (3, 2), (1, 3))
  found["b.count"] = Tensor(Storage(torch.LongStorage, "1", 1), 0, (), ())
  return found


DATA = {
  "0": np.arange(-1, 6, dtype=np.float32).tobytes(),
  "1": np.array([7]).tobytes(),
}


def pickled(value, legacy=False):
  file = io.BytesIO()
  pickler = Pickler(file, protocol=2)
  pickler.legacy = legacy
  pickler.dump(value)
  return file.getvalue()


def write_zip(path, value, data=DATA):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", pickled(value))
    for key, numbers in data.items():
      archive.writestr(f"archive/data/{key}", numbers)


def write_legacy(path, value):
  parts = [state_dict.MAGIC, 1001, {"little_endian": True}, value, ["0", "1"]]
  text = b"".join(pickled(part, legacy=True) for part in parts)
  for key, size in (("0", 7), ("1", 1)):
    text += np.array([size]).tobytes() + DATA[key]
  path.write_bytes(text)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_tensors_come_back(write, torch, tmp_path):
  write(tmp_path / "net.pth", tensors(torch))
  found = state_dict.read(tmp_path / "net.pth")
  assert found.keys() == EXPECTED.keys()
  for name, expected in EXPECTED.items():
    assert found[name].dtype == expected.dtype
    np.testing.assert_array_equal(found[name], expected)


class Harm:
  def __reduce__(self):
    return print, ("harm",)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_nothing_else_is_unpickled(write, tmp_path, capsys):
  write(tmp_path / "net.pth", {"a": Harm()})
  with pytest.raises(ValueError, match="asks for builtins.print|__builtin__"):
    state_dict.read(tmp_path / "net.pth")
  assert capsys.readouterr().out == ""


def test_a_tensor_beyond_its_numbers_is_refused(torch, tmp_path):
  write_zip(tmp_path / "net.pth", tensors(torch, offset=2))
  with pytest.raises(ValueError, match="beyond its numbers"):
    state_dict.read(tmp_path / "net.pth")


@pytest.mark.parametrize("text", [b"", b"no pickle", b"\x80\x02K\x01."])
def test_other_files_are_told(text, tmp_path):
  (tmp_path / "net.pth").write_bytes(text)
  with pytest.raises(ValueError):
    state_dict.read(tmp_path / "net.pth")
