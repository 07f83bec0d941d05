"""Decoding that can be stopped: every decoder is a child process.

A decoder that hangs inside FFmpeg runs no signal handler, so it has to be
killed, and with it the process that it runs in. Each process that reads videos
keeps a few long-lived children (`vdr.data.decode_child`), started when they are
first needed; threads share them, and processes forked later start their own.
Frames come back through shared memory.
"""

import atexit
import contextlib
import dataclasses
import json
import math
import mmap
import multiprocessing
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from vdr.data import source, transforms
from vdr.runtime import processes

_START_TIMEOUT_S = 120.0  # a cold disk is slow; it is no clip's fault


@dataclasses.dataclass(frozen=True)
class Video:
  """A video, before any of its frames is chosen.

  Attributes:
    times_s: presentation times of all frames, seconds, increasing.
    height: of the displayed picture, in square pixels.
    width: of the displayed picture, in square pixels.
    stored_height: of the displayed picture in pixels as they are stored, which
      may be no squares.
    stored_width: likewise.
    crop_steps: a crop that begins at multiples of these stored pixels (y, x)
      keeps chroma in its place.
  """

  times_s: Float[np.ndarray, " n"]
  height: int
  width: int
  stored_height: int
  stored_width: int
  crop_steps: tuple[int, int]

  def cut(
    self, affine: transforms.Affine
  ) -> tuple[transforms.Affine, tuple[int, int, int, int]]:
    """The crop next to this one that begins and ends between stored pixels.

    Affines count in fractions of the picture, so they are the same in stored
    and in square pixels.

    Returns:
      Its affine, and its box for a `Request`.
    """
    stored = self.stored_height, self.stored_width
    affine = transforms.snap(affine, *stored, self.crop_steps)
    return affine, transforms.box_px(affine, *stored)


@dataclasses.dataclass(frozen=True)
class Request:
  """What to read of a video.

  Attributes:
    indices: frames, positions in `Video.times_s`; they may repeat.
    box: the part `(y0, x0, y1, x1)` of the displayed picture, in pixels as they
      are stored.
    height: of the result, pixels.
    width: of the result, pixels.
    mirrored: whether to mirror in x.
  """

  indices: Int[np.ndarray, " t"]
  box: tuple[int, int, int, int]
  height: int
  width: int
  mirrored: bool = False


class Child:
  """One decoding process; not to be used by two threads at once."""

  def __init__(self):
    """Starts it.

    Raises:
      RuntimeError: it does not start.
    """
    self._file = _anonymous_file()
    self._memory: mmap.mmap | None = None
    self._process = subprocess.Popen(
      [
        *(sys.executable, "-P", "-m", "vdr.data.decode_child"),
        *(str(os.getpid()), str(self._file)),
      ],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      bufsize=0,
      pass_fds=[self._file],
      # Its modules are found wherever this process finds them.
      env=os.environ
      | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)},
    )
    assert self._process.stdin and self._process.stdout
    self._stdin, self._stdout = self._process.stdin, self._process.stdout
    self.pid = self._process.pid
    try:
      self._receive(time.monotonic() + _START_TIMEOUT_S)
    except source.BadClipError as error:
      self.kill()
      raise RuntimeError(
        f"the decoding process does not start ({error}); its own message is"
        " above, on standard error"
      ) from error

  def open(self, path: str, deadline: float) -> Video:
    """Scans a video; see `decode` for the errors."""
    answer = self._ask({"open": path}, deadline)
    times_s = self._shared((answer.pop("num_frames"),), np.float64).copy()
    crop_steps = tuple(answer.pop("crop_steps"))
    return Video(times_s=times_s, crop_steps=crop_steps, **answer)

  def read(
    self, request: Request, deadline: float
  ) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames of the video opened last; see `decode` for the errors."""
    message = dataclasses.asdict(request)
    message["indices"] = request.indices.tolist()
    self._ask(message, deadline)
    shape = (len(request.indices), request.height, request.width, 3)
    return self._shared(shape, np.uint8).copy()

  def is_alive(self) -> bool:
    return self._process.poll() is None

  def kill(self) -> None:
    """Ends it, whatever it is busy with."""
    self._process.kill()
    self._process.wait()
    self._close_files()

  def forget(self) -> None:
    """Lets go of it in a process that was forked from its parent."""
    self._process.returncode = 0  # to be waited for by its parent only
    self._close_files()

  def _close_files(self) -> None:
    for pipe in (self._stdin, self._stdout):
      with contextlib.suppress(OSError):
        pipe.close()
    if self._file >= 0:
      os.close(self._file)
      self._file = -1

  def _ask(self, message: dict[str, Any], deadline: float) -> dict[str, Any]:
    with contextlib.suppress(BrokenPipeError):  # the answer says it is dead
      self._stdin.write(json.dumps(message).encode() + b"\n")
    answer = self._receive(deadline)
    if "bug" in answer:
      raise RuntimeError(f"in the decoding process:\n{answer['bug']}")
    if "bad" in answer:
      raise source.BadClipError(answer["bad"])
    return answer

  def _receive(self, deadline: float) -> dict[str, Any]:
    """One line of JSON; kills a child that does not send it in time."""
    poll = select.poll()
    poll.register(self._stdout, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
      left_s = deadline - time.monotonic()
      if left_s <= 0 or not poll.poll(1000 * left_s):
        self.kill()
        raise source.BadClipError("decoding takes too long; it was stopped")
      part = self._stdout.read(1 << 16)
      if not part:
        status = self._process.wait()
        raise source.BadClipError(f"the decoder crashed (exit status {status})")
      line += part
    return json.loads(line)

  def _shared(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if self._memory is None or len(self._memory) < num_bytes:
      self._memory = mmap.mmap(self._file, num_bytes, prot=mmap.PROT_READ)
    return np.frombuffer(self._memory, dtype, math.prod(shape)).reshape(shape)


class Pool:
  """The children of this process.

  Attributes:
    limit: children at the most; further threads wait.
  """

  def __init__(self, limit: int | None = None):
    if limit is None:
      # A worker process has one core: its second child reads while the first
      # one decodes.
      in_worker = multiprocessing.parent_process() is not None
      limit = 2 if in_worker else processes.usable_cores()
    self.limit = limit
    self._slots = threading.BoundedSemaphore(limit)
    self._idle: list[Child] = []
    self._all: set[Child] = set()

  @contextlib.contextmanager
  def lease(self) -> Iterator[Child]:
    """A child for the calling thread alone."""
    with self._slots:
      child = None
      while self._idle and child is None:
        child = self._idle.pop()
        if not child.is_alive():  # killed from outside, by lack of memory say
          self._drop(child)
          child = None
      if child is None:
        child = Child()
        self._all.add(child)
      try:
        yield child
      except source.BadClipError:
        raise
      except BaseException:
        # An answer may still be on its way.
        self._drop(child)
        raise
      finally:
        if child in self._all:
          if child.is_alive():
            self._idle.append(child)
          else:
            self._drop(child)

  def close(self) -> None:
    """Ends all children."""
    for child in list(self._all):
      self._drop(child)
    self._idle.clear()

  def forget(self) -> None:
    """Lets go of the children of the process that this one is a fork of."""
    for child in self._all:
      child.forget()

  def _drop(self, child: Child) -> None:
    self._all.discard(child)
    child.kill()


_pool: Pool | None = None
_pool_lock = threading.Lock()


def pool() -> Pool:
  """The pool of this process."""
  global _pool
  with _pool_lock:
    if _pool is None:
      _pool = Pool()
    return _pool


def close() -> None:
  """Ends the children of this process; the next `decode` starts new ones."""
  global _pool
  with _pool_lock:
    if _pool is not None:
      _pool.close()
    _pool = None


def _after_fork() -> None:
  global _pool, _pool_lock
  _pool_lock = threading.Lock()  # a thread that is gone may have held it
  if _pool is not None:
    _pool.forget()
  _pool = None


atexit.register(close)
os.register_at_fork(after_in_child=_after_fork)


def decode(
  path: str, plan: Callable[[Video], Request], timeout_s: float
) -> tuple[UInt8[np.ndarray, "t h w 3"], Float[np.ndarray, " t"]]:
  """Reads one clip.

  Args:
    path: a video file.
    plan: chooses what to read, once the video's size and times are known.
    timeout_s: seconds that reading may take.

  Returns:
    The frames, and their presentation times in seconds.

  Raises:
    BadClipError: the video can't be read, or not in time.
    RuntimeError: the decoding process can't be started, or has a bug.
  """
  with pool().lease() as child:
    deadline = time.monotonic() + timeout_s
    video = child.open(path, deadline)
    request = plan(video)
    frames = child.read(request, deadline)
  return frames, video.times_s[request.indices]


def _anonymous_file() -> int:
  """A file without a name, in memory where the system can do that."""
  if hasattr(os, "memfd_create"):
    return os.memfd_create("vdr-frames")
  with tempfile.TemporaryFile() as file:
    return os.dup(file.fileno())
