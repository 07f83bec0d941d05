"""The exception for people, and what a lost host sounds like."""

import pickle

import pytest

from vdr.runtime import errors


def test_the_message_survives_the_way_between_processes():
  error = pickle.loads(pickle.dumps(errors.UserError("--workdir=x is a file")))
  assert isinstance(error, errors.UserError)
  assert str(error) == "--workdir=x is a file"


@pytest.mark.parametrize(
  "text, is_lost",
  [
    ("UNKNOWN: Gloo all-reduce failed: Connection closed by peer", True),
    ("Terminating process because the JAX distributed service detected", True),
    ("UNAVAILABLE: Failed to send RPC to coordination service", True),
    ("The following tasks stopped sending heartbeats", True),
    ("RESOURCE_EXHAUSTED: Out of memory", False),
    ("KeyError: 'video'", False),
  ],
)
def test_a_lost_host_is_told_from_a_bug(text, is_lost):
  assert errors.tells_of_a_lost_host(text) is is_lost


def test_a_value_with_line_breaks_makes_no_second_line():
  error = errors.UserError("no clip called 'a\nb\u2028c'; fix the name")
  assert str(error) == "no clip called 'a b c'; fix the name"
  assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
  ("error", "is_it"),
  [
    (MemoryError("Unable to allocate 52.2 TiB for an array"), True),
    (
      RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"),
      True,
    ),
    (RuntimeError("INTERNAL: dispatching: Out of memory allocating 9"), True),
    (RuntimeError("INVALID_ARGUMENT: memory"), False),
  ],
)
def test_an_allocation_that_failed_is_told_from_a_bug(error, is_it):
  assert errors.tells_of_no_memory(error) is is_it
