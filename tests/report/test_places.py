"""Section 3: maps and curves have the cells of results."""

from tests.report import fake_study
from vdr import results


def cells(whole, task, kind):
  folder = whole.study / f"cells/main-{kind}-tiny-0-0123abcd" / task
  result = results.read(folder)
  metric = result["primary"]
  best = result["cells"][result["best"]]
  at = {
    (c["layer"], c["noise_level"]): (c["test"][metric]["value"], c["select"])
    for c in result["cells"]
  }
  return at, (best["layer"], best["noise_level"])


def test_maps_have_every_cell_and_mark_the_best(whole):
  for task, spec in whole.numbers["figures"]["maps"].items():
    factor = 100 if fake_study.TASKS[task][1] == "top_1" else 1
    for kind, panel in zip(("video", "image"), spec["panels"], strict=True):
      at, best = cells(whole, task, kind)
      assert panel["x"] == list(fake_study.LAYERS)
      assert panel["y"] == list(fake_study.LEVELS)
      for y, row in zip(panel["y"], panel["z"], strict=True):
        assert row == [factor * at[x, y][0] for x in panel["x"]]
      assert (
        panel["x"][panel["best"][0]],
        panel["y"][panel["best"][1]],
      ) == best


def test_curves_at_a_noise_level_and_at_the_best(whole):
  specs = whole.numbers["figures"]["curves"]
  at, _ = cells(whole, "points", "video")  # lower is better
  video = specs["points|layer|noise 0.2"]["series"][0]
  assert video["x"] == list(fake_study.LAYERS)
  assert video["value"] == [at[x, 0.2][0] for x in video["x"]]
  best = specs["points|layer|best"]["series"][0]
  for x, value in zip(best["x"], best["value"], strict=True):
    chosen = min((at[x, y][1], at[x, y][0]) for y in fake_study.LEVELS)
    assert value == chosen[1]


def test_log_snr_is_another_coordinate_of_the_same_scores(whole):
  specs = whole.numbers["figures"]["curves"]
  noise = specs["depth|noise_level|layer 3"]["series"][0]
  log_snr = specs["depth|log_snr|layer 3"]["series"][0]
  assert log_snr["value"] == noise["value"][::-1]
  assert log_snr["x"] == sorted(fake_study.LOG_SNRS.values())


def test_a_layer_can_not_be_held_and_followed(whole):
  keys = set(whole.numbers["figures"]["curves"])
  assert "depth|layer|layer 3" not in keys
  assert "depth|noise_level|noise 0.2" not in keys


def test_the_chosen_places_are_in_the_table(whole):
  for row in whole.numbers["tables"]["chosen"]:
    for kind in ("video", "image"):
      _, best = cells(whole, row["task"], kind)
      assert (row[f"{kind}_layer"], row[f"{kind}_noise_level"]) == best


def test_one_model_alone_has_its_map(half):
  maps = half.numbers["figures"]["maps"]
  assert set(maps) == {"shape", "action", "depth", "points"}
  assert [p["title"] for p in maps["shape"]["panels"]] == ["video model"]
