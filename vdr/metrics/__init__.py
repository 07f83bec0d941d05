"""Scores as pure functions: no model, no files.

`images` runs on the device. All other modules take NumPy arrays of any float
type, work in float64, and follow four rules:

* A score is a `vdr.metrics.accumulators.Ratio`: one row for each clip, from
  which the score, its parts on several hosts and its bootstrap are computed.
  Sets as a whole (`distribution`) have no rows and give numbers.
* What is masked out is never read, be it NaN. `Ratio.keep` leaves out whole
  clips: padding, and clips that could not be read.
* Where there is nothing to score (no visible point, no valid pixel) a clip is
  left out of the mean and counted in `num_skipped`; it is no zero.
* A prediction that is NaN is wrong: 0 where the score is bounded (accuracy,
  overlap, share within a threshold). An error without a bound becomes NaN, and
  so does the whole score: it is never quietly left out.
"""
