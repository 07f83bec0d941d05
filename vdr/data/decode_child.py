"""The process that decodes: `python -m vdr.data.decode_child PARENT FD`.

It reads requests from its standard input and answers on its standard output,
one line of JSON each; frames and times go through the shared memory behind file
descriptor FD. It ends when its input does, and when PARENT is no longer its
parent. Nothing heavy is imported: it has to start quickly.

Requests and answers:

* `{"open": path}`: `{"num_frames", "height", "width", "stored_height",
  "stored_width", "crop_steps"}` as in `vdr.data.decoder.Video`, and the times
  of all frames (float64, seconds) in shared memory;
* `{"indices", "box", "height", "width", "mirrored"}`: reads frames of the video
  that was opened last. `{"num_decoded"}`, and the frames in shared memory.

A video that can't be read is answered by `{"bad": reason}`, and a mistake in
this program by `{"bug": traceback}`.
"""

import collections
import json
import math
import mmap
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

import av.logging
import numpy as np

from vdr.data import video

# Scans of recent files: several clips of a video are often read in a row.
_MAX_TABLES = 64


class Server:
  """Answers requests."""

  def __init__(self, fd: int):
    self._fd = fd
    self._memory: mmap.mmap | None = None
    self._file: video.VideoFile | None = None
    self._key: tuple | None = None
    self._tables: collections.OrderedDict[tuple, video.Table] = (
      collections.OrderedDict()
    )

  def answer(self, request: dict[str, Any]) -> dict[str, Any]:
    try:
      return self._open(request) if "open" in request else self._read(request)
    except video.VideoError as error:
      return {"bad": str(error)}
    except MemoryError:
      return {"bad": "its frames do not fit into memory"}
    except Exception:
      return {"bug": traceback.format_exc()}

  def _open(self, request: dict[str, Any]) -> dict[str, Any]:
    path = request["open"]
    try:
      status = os.stat(path)
    except OSError as error:
      raise video.VideoError(error.strerror or str(error)) from error
    key = (path, status.st_mtime_ns, status.st_size)
    if key != self._key:
      self._close()
      self._file = video.VideoFile(path, self._tables.get(key))
      self._key = key
      self._tables[key] = self._file.table
      while len(self._tables) > _MAX_TABLES:
        self._tables.popitem(last=False)
    assert self._file is not None
    table = self._file.table
    self._shared(table.times_s.shape, np.float64)[:] = table.times_s
    return {
      "num_frames": len(table.times_s),
      "height": table.height,
      "width": table.width,
      "stored_height": table.stored_height,
      "stored_width": table.stored_width,
      "crop_steps": table.crop_steps,
    }

  def _read(self, request: dict[str, Any]) -> dict[str, Any]:
    assert self._file is not None
    indices = np.array(request["indices"])
    shape = (len(indices), request["height"], request["width"], 3)
    out = self._shared(shape, np.uint8)
    before = self._file.num_decoded
    try:
      self._file.read(indices, tuple(request["box"]), out, request["mirrored"])
    except video.VideoError:
      self._close()
      raise
    return {"num_decoded": self._file.num_decoded - before}

  def _close(self) -> None:
    if self._file is not None:
      self._file.close()
    self._file = self._key = None

  def _shared(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array in shared memory, which grows as it must."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if self._memory is None or len(self._memory) < num_bytes:
      os.ftruncate(self._fd, num_bytes)
      self._memory = mmap.mmap(self._fd, num_bytes)
    return np.frombuffer(self._memory, dtype, math.prod(shape)).reshape(shape)


def _end_with(parent: int) -> None:
  """Ends this process, in whatever it is busy with, after its parent did."""
  while os.getppid() == parent:
    time.sleep(1.0)
  os._exit(1)


def main(argv: list[str]) -> None:
  parent, fd = map(int, argv)
  # An interrupt from the terminal is the parent's business.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
  av.logging.set_level(av.logging.PANIC)
  server = Server(fd)
  print(json.dumps({"ready": True}), flush=True)
  for line in sys.stdin:
    print(json.dumps(server.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
  main(sys.argv[1:])
