"""Noise: schedules, training targets and samplers, as pure functions."""
