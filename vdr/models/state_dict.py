"""Reads the state dicts that PyTorch writes, without PyTorch.

`torch.save` pickles a dict of tensors, whose numbers lie beside the pickle: in
files of a zip archive, or, before PyTorch 1.6, behind it. Nothing but tensors
and dicts is unpickled: a file that asks for anything else, as one that means
harm must, is refused.
"""

import collections
import os
import pathlib
import pickle
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C  # of files before PyTorch 1.6
DTYPES = {
  "DoubleStorage": np.float64,
  "FloatStorage": np.float32,
  "HalfStorage": np.float16,
  "LongStorage": np.int64,
  "IntStorage": np.int32,
  "ShortStorage": np.int16,
  "CharStorage": np.int8,
  "ByteStorage": np.uint8,
  "BoolStorage": np.bool_,
}


class _Storage(NamedTuple):
  """Numbers of one type that tensors are views of."""

  key: str
  dtype: np.dtype


class _Tensor(NamedTuple):
  """A tensor whose numbers are still to be read."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The tensors of a state dict, by name.

  Raises:
    OSError: the file can't be read.
    ValueError: it is no state dict.
  """
  path = pathlib.Path(path)
  try:
    if zipfile.is_zipfile(path):
      found, data = _read_zip(path)
    else:
      with path.open("rb") as file:
        found, data = _read_legacy(file)
    if not isinstance(found, dict):
      raise ValueError(f"it holds a {type(found).__name__} and no dict")
    return {
      str(name): _array(tensor, data)
      for name, tensor in found.items()
      if isinstance(tensor, _Tensor)
    }
  except (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
  ) as error:
    raise ValueError(f"it is no state dict of PyTorch: {error}") from error


def _read_zip(path: pathlib.Path) -> tuple[Any, dict[str, bytes]]:
  with zipfile.ZipFile(path) as archive:
    (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
    folder = name.removesuffix("data.pkl") + "data/"
    with archive.open(name) as file:
      found = _Unpickler(file).load()
    data = {
      n.removeprefix(folder): archive.read(n)
      for n in archive.namelist()
      if n.startswith(folder)
    }
  return found, data


def _read_legacy(file: BinaryIO) -> tuple[Any, dict[str, bytes]]:
  """A magic number, a version, the system, the dict, keys, and the numbers."""
  if _Unpickler(file).load() != MAGIC:
    raise ValueError("it is no file of PyTorch")
  for _ in range(2):
    _Unpickler(file).load()
  unpickler = _Unpickler(file)
  found = unpickler.load()
  data = {}
  for key in _Unpickler(file).load():
    (count,) = np.frombuffer(file.read(8), "<i8")
    size = int(count) * unpickler.storages[key].dtype.itemsize
    data[key] = file.read(size)
  return found, data


def _array(tensor: _Tensor, data: dict[str, bytes]) -> np.ndarray:
  dtype = tensor.storage.dtype
  numbers = np.frombuffer(data[tensor.storage.key], dtype)
  # The last number that the tensor reaches; NumPy would not look.
  last = tensor.offset + sum(
    (size - 1) * stride
    for size, stride in zip(tensor.shape, tensor.strides, strict=True)
  )
  if 0 in tensor.shape:
    return np.zeros(tensor.shape, dtype)
  if min((tensor.offset, *tensor.strides)) < 0 or last >= len(numbers):
    raise ValueError("a tensor reaches beyond its numbers: the file is damaged")
  strides = [stride * dtype.itemsize for stride in tensor.strides]
  view = np.lib.stride_tricks.as_strided(
    numbers[tensor.offset :], tensor.shape, strides, writeable=False
  )
  return view.copy()


def _rebuild_tensor(
  storage: _Storage, offset: int, shape: tuple, strides: tuple, *unused: Any
) -> _Tensor:
  """Stands in for `torch._utils._rebuild_tensor_v2`."""
  return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *unused: Any) -> _Tensor:
  """Stands in for `torch._utils._rebuild_parameter`."""
  return tensor


class _Unpickler(pickle.Unpickler):
  """Knows tensors and dicts, and nothing else.

  Attributes:
    storages: those that the pickle names, by key.
  """

  def __init__(self, file: Any):
    super().__init__(file, encoding="utf-8")
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    known = {
      ("collections", "OrderedDict"): collections.OrderedDict,
      ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
      ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    }
    if module == "torch" and name in DTYPES:
      return np.dtype(DTYPES[name])
    if (module, name) not in known:
      raise pickle.UnpicklingError(f"it asks for {module}.{name}")
    return known[module, name]

  def persistent_load(self, pid: Any) -> _Storage:
    kind, dtype, key = pid[:3]
    if kind != "storage":
      raise pickle.UnpicklingError(f"it asks for {kind!r}")
    storage = _Storage(str(key), dtype)
    return self.storages.setdefault(storage.key, storage)
