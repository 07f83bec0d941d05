"""The simulated world: rigid bodies, ray cast, with everything known exactly.

Data flows one way: scenes (what is in a clip) → motion (where things go) →
world (MuJoCo) → render and truth (pixels and labels) → clip → records → files.
"""
