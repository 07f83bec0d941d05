"""One of two hosts that meet over loopback; the launcher gives it its options.

Prints one JSON object, which the tests of hosts, loaders, metrics and SIGTERM
look into. With two more words, INDEX killed | failed, that host is lost.
"""

import json
import os
import signal
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from configs import base
from tests.data import fakes
from vdr import main as vdr_main
from vdr.data import prefetch
from vdr.metrics import accumulators
from vdr.runtime import errors, hosts, mesh, preemption

NUM_CLIPS = 7


def first(index):
  """What the first host does for both, and how both fail with it."""
  before = time.monotonic()
  result = hosts.first_does(lambda: time.sleep(0.5) or 5)
  found = {"result": result, "waited_s": time.monotonic() - before}

  def fail():
    raise errors.UserError("the disk is full")

  try:
    hosts.first_does(fail)
  except errors.UserError as error:
    found["error"] = str(error)
  return found


def said(index):
  """What the first one says, and that it says no more."""
  return [hosts.first_says(f"by host {index}"), hosts.first_says("")]


def ratio_of(rows):
  """A score of clips whose parts differ by 16 digits."""
  rng = np.random.default_rng(0)
  numerator = rng.normal(size=NUM_CLIPS) * 10.0 ** np.arange(-8, 6, 2)
  return accumulators.Ratio(numerator[rows], np.ones(len(numerator[rows])))


def metrics(index):
  """Five clips here and two there: rows and sums, gathered and merged."""
  rows = slice(0, 5) if index == 0 else slice(5, NUM_CLIPS)
  mine = ratio_of(rows)
  ratios = hosts.gather(mine.to_dict())
  sums = hosts.gather(mine.sums().to_dict())
  whole = accumulators.concatenate(
    [accumulators.ratio_from_dict(part) for part in ratios]
  )
  merged = accumulators.merge(
    [accumulators.sums_from_dict(part) for part in sums]
  )
  empty = hosts.gather({"ids": np.zeros((0, 3), np.int64)} if index else {})
  return {
    "rows": whole.numerator.tolist(),
    "total": merged.total.tolist(),
    "score": merged.score(),
    "empty": [
      {k: [*v.shape, str(v.dtype)] for k, v in e.items()} for e in empty
    ],
  }


def data(index):
  """Seven clips in batches of two, those of one host bad, summed by both."""
  # The order is that of the source: host 1 has the clips of odd numbers.
  batches = fakes.make(
    fakes.Fake(NUM_CLIPS, bad=(1, 3)),
    host=(index, 2),
    batch_size=2,
    shuffle=False,
    num_epochs=1,
  )
  cfg = base.default().mesh
  sharding = mesh.batch_sharding(mesh.make_mesh(cfg))

  @jax.jit
  def count(arrays):
    valid = arrays["clip_valid"]
    return jnp.sum(valid), jnp.sum(jnp.where(valid, arrays["clip_index"], 0))

  totals = []
  with prefetch.prefetch_to_device(batches, sharding, 2) as stream:
    for batch in stream:
      totals.append([int(x) for x in count(batch.arrays)])
  return {
    "totals": totals,
    "seen": batches.failures.num_seen,
    "bad": [failure.clip_id for failure in batches.failures.unique],
  }


def steps(index):
  """One host gets SIGTERM, and both stop after the same step."""
  with preemption.Preemption() as wish:
    for step in range(1, 100):
      if index == 1 and step == 13:
        os.kill(os.getpid(), signal.SIGTERM)
      if wish.requested(step):
        return {"stopped": step, "heard": wish.heard}
  return {}


def lose(index, who, how):
  """One host is killed, or fails, while the other is in a collective."""
  for step in range(10**6):
    if index == who and step == 3:
      print(json.dumps({"lost_s": time.time()}), flush=True)
      if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
      raise errors.UserError("too many clips of this host are bad")
    multihost_utils.process_allgather(np.array(step))


def main(argv):
  """Does its parts as `vdr.main` does a verb, with the same ends."""
  words = [word for word in argv[1:] if not word.startswith("--")]
  options = [word for word in argv[1:] if word.startswith("--")]

  def verb(config, workdir):
    index = config.hosts.index
    if words:
      lose(index, int(words[0]), words[1])
    parts = (first, said, metrics, data, steps)
    found = {part.__name__: part(index) for part in parts}
    print(json.dumps({"index": index} | found))

  vdr_main._verb = lambda job, together: verb
  config = "--config=configs/preview.py"
  return vdr_main.main([argv[0], config, "--workdir=none", *options])


if __name__ == "__main__":
  sys.exit(main(sys.argv))
