"""How numbers are said."""

import pytest

from vdr.report import words


@pytest.mark.parametrize(
  ("said", "expected"),
  [
    (words.number(-0.1234), "−0.123"),
    (words.number(-0.0001, 2, True), "0.00"),
    (words.number(None), "–"),
    (words.number(float("nan")), "–"),
    (words.percent(0.42), "+42 %"),
    (words.percent(0.018), "+1.8 %"),
    (words.percent(-0.25), "−25 %"),
    (words.percent(0.0), "0.0 %"),
    (words.percent(0.5, sign=False), "50 %"),
    (words.percent(None), "–"),
    (words.score("top_1", 0.4321), "43.2"),
    (words.score("top_1", 0.012, True), "+1.2"),
    (words.scored("top_1", 0.5), "50.0 %"),
    (words.scored("abs_rel", 0.1), "0.100"),
    (words.scored("unheard_of", 0.1), "0.100"),
    (words.interval("1", "2"), "1 to 2"),
    (words.interval("1", "–"), "–"),
    (words.p_value(0.0002), "< .001"),
    (words.p_value(0.042), ".042"),
    (words.p_value(1.0), "1"),
    (words.listed([]), ""),
    (words.listed(["a"]), "a"),
    (words.listed(["a", "b", "c"]), "a, b and c"),
    (words.seconds(3.14), "3.1 s"),
    (words.seconds(61.2), "61 s"),
    (words.seconds(812), "14 min"),
    (words.seconds(9000), "2.5 h"),
    (words.count(954008), "954,008"),
    (words.count(8.77e12), "8.77e+12"),
    (words.plural(1, "seed"), "1 seed"),
    (words.plural(2, "seed"), "2 seeds"),
    (words.escape("<a & b>"), "&lt;a &amp; b&gt;"),
    (words.task_title("points"), "point tracking"),
    (words.task_title("my_task"), "my task"),
    (words.metric("mean_of_x").label, "mean of x"),
    (words.metric("error_px").label, "mean error, px of 256"),
  ],
)
def test_words(said, expected):
  assert said.replace("\N{NO-BREAK SPACE}", " ") == expected


def test_axes_and_tables_have_the_same_scale():
  assert words.scaled("top_1", 0.5) == 50
  assert words.scaled("iou", 0.5) == 0.5
  assert words.scaled("iou", None) is None
