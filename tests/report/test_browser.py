"""The page in a real browser, where there is one."""

import pathlib
import shutil

import pytest

sync_api = pytest.importorskip("playwright.sync_api")
BROWSER = next(
  filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None
)
PATIENCE_MS = 300_000  # the machine may be busy
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
pytestmark = [
  pytest.mark.skipif(BROWSER is None, reason="there is no chromium"),
]


@pytest.fixture(scope="module")
def browser():
  with sync_api.sync_playwright() as playwright:
    opened = playwright.chromium.launch(
      executable_path=BROWSER, args=list(ARGS), timeout=PATIENCE_MS
    )
    yield opened
    opened.close()


class Opened:
  """A page, and what went wrong in it."""

  def __init__(self, browser, out: pathlib.Path, width=1280, **context):
    self.wrong: list[str] = []
    self.context = browser.new_context(
      viewport={"width": width, "height": 900}, **context
    )
    self.context.set_default_timeout(PATIENCE_MS)
    self.page = self.context.new_page()
    self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
    self.page.on("console", lambda told: self.wrong.append(told.text))
    self.page.on("request", self._requested)
    self.address = f"file://{out}/index.html"
    self.page.goto(self.address)

  def _requested(self, request):
    if not request.url.startswith(("data:", "blob:", self.address)):
      self.wrong.append(request.url)

  def draw_all(self):
    self.page.evaluate("() => Promise.all(elements.map(draw))")

  def data(self, name):
    """What is drawn of a figure, as plotly has it."""
    return self.page.evaluate(
      f"""() => document.querySelector("#figure-{name} .canvas").data.map(
        (t) => ({{x: t.x, y: t.y, z: t.z, name: t.name}}))"""
    )

  def press(self, name, *labels):
    for label in labels:
      self.page.evaluate(
        """([name, label]) => [
          ...document.querySelectorAll(`#figure-${name} .pills button`)
        ].find((b) => b.textContent === label).click()""",
        [name, label],
      )


@pytest.fixture(scope="module")
def opened(browser, whole):
  made = Opened(browser, whole.out)
  made.draw_all()
  yield made
  made.context.close()


def test_all_figures_are_drawn_without_error_or_network(opened, whole):
  count = opened.page.evaluate(
    "() => document.querySelectorAll('.canvas .main-svg').length"
  )
  assert count >= len(whole.numbers["figures"])
  assert opened.wrong == []


def test_figures_have_the_numbers_of_the_report(opened, whole):
  spec = whole.numbers["figures"]["gain"][""]
  assert opened.data("gain")[0]["x"] == spec["series"][0]["value"]


def test_selecting_changes_what_is_drawn(opened, whole):
  specs = whole.numbers["figures"]
  for label, task in (("monocular depth", "depth"), ("box tracking", "boxes")):
    opened.press("maps", label)
    drawn = [t["z"] for t in opened.data("maps") if t["z"] is not None]
    assert drawn == [p["z"] for p in specs["maps"][task]["panels"]]
    # One task for the whole section.
    lines = [t["y"] for t in opened.data("curves") if t["name"]]
    first = specs["curves"][f"{task}|layer|best"]["series"]
    assert lines == [s["value"] for s in first]
  opened.press("curves", "noise 0.2")
  lines = [t["y"] for t in opened.data("curves") if t["name"]]
  at_level = specs["curves"]["boxes|layer|noise 0.2"]["series"]
  assert lines == [s["value"] for s in at_level]
  # A noise level can't be held while it is followed.
  opened.press("curves", "log-SNR")
  lines = [t["x"] for t in opened.data("curves") if t["name"]]
  assert lines[0] == specs["curves"]["boxes|log_snr|best"]["series"][0]["x"]
  assert opened.wrong == []


def test_the_button_changes_the_theme(opened):
  def colour():
    return opened.page.evaluate(
      "() => getComputedStyle(document.body).backgroundColor"
    )

  light = colour()
  opened.page.click("#theme")
  dark = colour()
  opened.page.click("#theme")
  assert dark != light == colour()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction(browser, whole, half, theme):
  for made in (whole, half):
    opened = Opened(browser, made.out, width=390, color_scheme=theme)
    opened.draw_all()
    wide, room = opened.page.evaluate(
      "() => [document.documentElement.scrollWidth,"
      " document.documentElement.clientWidth]"
    )
    assert wide <= room == 390
    assert opened.wrong == []
    opened.context.close()


def test_without_scripts_pictures_stand_in(browser, whole):
  opened = Opened(browser, whole.out, java_script_enabled=False)
  shown = opened.page.locator("#figure-gain noscript img")
  assert shown.count() == 1
  assert not opened.page.locator("#figure-gain .canvas").is_visible()
  opened.context.close()


def test_only_figures_that_come_near_are_drawn(browser, whole):
  opened = Opened(browser, whole.out)
  tops = "() => elements.map((e) => e.getBoundingClientRect().top)"
  names = "() => [...drawn].map((e) => e.dataset.figure)"
  opened.page.wait_for_function("() => drawn.size > 0")
  first, last = opened.page.evaluate(tops)[:: len(whole.numbers["figures"]) - 1]
  assert first < 900 + 500 < last
  at_first = opened.page.evaluate(names)
  assert 0 < len(at_first) < len(whole.numbers["figures"]) / 2
  opened.page.evaluate("() => elements.at(-1).scrollIntoView()")
  opened.page.wait_for_function("() => drawn.has(elements.at(-1))")
  assert set(at_first) < set(opened.page.evaluate(names))
  assert opened.wrong == []
  opened.context.close()
