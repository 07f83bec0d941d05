"""The one exception that is meant for people."""


class UserError(Exception):
  """Bad input that the person who started vdr can mend.

  The message names the value, the place and the mend. `vdr.main` prints it as
  one line, without a traceback, and exits with status 2.
  """
