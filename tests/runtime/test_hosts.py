"""Hosts that find each other, and what the first one does for all."""

import socket
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vdr.runtime import errors, hosts

PROGRAM = """
import sys
from configs import base
from vdr.runtime import errors, hosts
cfg = base.default().hosts
cfg.update(coordinator=sys.argv[1], count=2, index=int(sys.argv[2]))
hosts.connect(cfg)
print("first" if hosts.is_first() else "other", hosts.first_does(lambda: 5))
def fail():
  raise errors.UserError("the disk is full")
try:
  hosts.first_does(fail)
except errors.UserError as error:
  print(error)
"""


def free_address():
  with socket.socket() as found:
    found.bind(("localhost", 0))
    return f"localhost:{found.getsockname()[1]}"


def test_one_host_needs_no_other():
  hosts.connect(base.default().hosts)
  assert hosts.is_first()
  assert hosts.first_does(lambda: 3) == 3
  with pytest.raises(errors.UserError, match="full"):
    hosts.first_does(lambda: (_ for _ in ()).throw(errors.UserError("full")))
  np.testing.assert_array_equal(hosts.fetch(jnp.arange(3)), [0, 1, 2])


def test_a_host_needs_a_number_of_its_own():
  cfg = base.default().hosts
  cfg.update(coordinator="localhost:1", count=2, index=2)
  with pytest.raises(errors.UserError, match="index=2 is not within 0 to .* 1"):
    hosts.connect(cfg)


def test_two_hosts_agree():
  address = free_address()
  processes = [
    subprocess.Popen(
      [sys.executable, "-c", PROGRAM, address, str(i)],
      stdout=subprocess.PIPE,
      text=True,
    )
    for i in range(2)
  ]
  first, other = (p.communicate(timeout=120)[0] for p in processes)
  assert [p.returncode for p in processes] == [0, 0]
  # gloo says a line of its own first
  assert first.endswith("first 5\nthe disk is full\n")
  assert other.endswith(
    "other None\nthe first host ended with an error; see there\n"
  )
