"""The exception for people is an exception like any other."""

import pickle

from vdr.runtime import errors


def test_the_message_survives_the_way_between_processes():
  error = pickle.loads(pickle.dumps(errors.UserError("--workdir=x is a file")))
  assert isinstance(error, errors.UserError)
  assert str(error) == "--workdir=x is a file"
