"""The bar counts, resumes without spoiling its rate and leaves logs clean."""

import io
import re

import pytest

from vdr.runtime import progress


class Terminal(io.StringIO):
  """A file that says it is a terminal."""

  def isatty(self):
    return True


@pytest.fixture
def clock(monkeypatch):
  """A clock in seconds that only the test moves."""

  class Clock:
    now = 100.0

    def monotonic(self):
      return self.now

  clock = Clock()
  monkeypatch.setattr(progress, "time", clock)
  return clock


def test_lines_come_now_and_then_with_rate_and_time_left(clock):
  log = io.StringIO()
  with progress.bar(100, unit="clip", label="train", file=log) as bar:
    for _ in range(40):
      clock.now += 1
      bar.advance(2)
  assert log.getvalue().splitlines() == [
    "train: 30 of 100 clips (30%), 2.0 clips/s, 0:35 left",
    "train: 60 of 100 clips (60%), 2.0 clips/s, 0:20 left",
    "train: 80 of 100 clips (80%), 2.0 clips/s, 0:10 left",
  ]
  assert bar.done == 80


def test_the_last_line_tells_how_long_it_took(clock):
  log = io.StringIO()
  with progress.bar(4, unit="step", file=log) as bar:
    clock.now += 4000
    bar.advance(4)
  assert log.getvalue() == "4 of 4 steps (100%), 1,000.0 s/step, 1:06:40\n"


def test_what_was_there_before_counts_as_progress_not_as_work(clock):
  log = io.StringIO()
  with progress.bar(1000, unit="clip", done=900, file=log) as bar:
    clock.now += 20
    bar.advance(10)
  assert log.getvalue() == "910 of 1,000 clips (91%), 2.0 s/clip, 3:00 left\n"


def test_nothing_to_do_says_nothing():
  log = io.StringIO()
  with progress.bar(8, done=8, file=log):
    pass
  assert log.getvalue() == ""


def test_an_unknown_total_shows_the_count(clock):
  log = io.StringIO()
  with progress.bar(None, unit="video", file=log) as bar:
    clock.now += 2
    bar.advance(6)
  assert log.getvalue() == "6 videos, 3.0 videos/s, 0:02\n"


def test_an_error_still_shows_how_far_it_came(clock):
  log = io.StringIO()
  with (
    pytest.raises(RuntimeError),
    progress.bar(8, unit="clip", file=log) as bar,
  ):
    clock.now += 1
    bar.advance(2)
    raise RuntimeError
  assert log.getvalue().startswith("2 of 8 clips (25%)")


def test_quiet_shows_nothing_and_counts():
  terminal = Terminal()
  with progress.bar(8, quiet=True, file=terminal) as bar:
    bar.advance()
    bar.advance(3)
  assert terminal.getvalue() == ""
  assert bar.done == 4


def test_a_terminal_gets_a_bar_in_place():
  terminal = Terminal()
  with progress.bar(
    8, unit="clip", label="train", done=4, file=terminal
  ) as bar:
    bar.advance(4)
  shown = terminal.getvalue()
  assert "\r" in shown
  assert re.search(r"train:.*8/8.* clip/s", shown.splitlines()[-1])


def test_standard_error_is_the_default(capsys):
  with progress.bar(2, unit="clip") as bar:
    bar.advance(2)
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err.startswith("2 of 2 clips (100%)")


def test_a_note_stands_behind_what_is_shown(clock):
  log, terminal = io.StringIO(), Terminal()
  for file in (log, terminal):
    with progress.bar(4, file=file) as bar:
      bar.note("loss 0.5")
      clock.now += 1
      bar.advance(4)
  assert log.getvalue() == "4 of 4 steps (100%), 4.0 steps/s, 0:01, loss 0.5\n"
  assert "loss 0.5" in terminal.getvalue()


def test_a_quiet_bar_takes_notes_too():
  with progress.bar(4, quiet=True) as bar:
    bar.note("loss 0.5")


def test_parts_say_where_they_are_in_the_whole():
  parts = progress.Parts(8)
  labels = [parts.label("read", 2), parts.label("fit"), parts.label("fit", 5)]
  assert labels == ["[0-25%] read", "[25-38%] fit", "[38-100%] fit"]


@pytest.mark.parametrize(
  "line, share",
  [
    ("training: 5 of 10 steps (50%), 1.0 steps/s", 0.5),
    ("[20-60%] pose: 5 of 10 steps (50%), loss 0.1", 0.4),
    ("[20-60%] pose: 10 of 10 steps (100%), 0:03", 0.6),
    ("[20-60%] pose: 7 clips, 1.0 clips/s, 0:07", 0.2),
    ("7 of 7 clips (100%), 1.0 clips/s, 0:07", 1.0),
    ("8 of 7 clips (114%), 1.0 clips/s, 0:07", 1.0),
    ("compiling", 0.0),
    ("", 0.0),
  ],
)
def test_a_line_says_how_much_of_the_whole_is_done(line, share):
  assert progress.share(line) == pytest.approx(share)


def test_the_share_of_a_bar_is_that_of_its_part(clock):
  log, parts = io.StringIO(), progress.Parts(4)
  for weight in (1, 3):
    with progress.bar(5, label=parts.label("fit", weight), file=log) as bar:
      bar.advance(5)
  shares = [progress.share(line) for line in log.getvalue().splitlines()]
  assert shares == [0.25, 1.0]
