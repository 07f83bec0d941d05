"""Light heads on frozen features, and the engine that fits many of them.

* `head.py`: what a head is; `heads.py` (linear, attentive, pose), `dense.py`,
  `tracking.py` and `recurrent.py` have them; `losses.py` their losses.
* `readout.py`: the attention that most of them share; `places.py`: where and
  when the tokens of any backbone are.
* `plan.py`: how they are fitted; `blocks.py`: features from memory or streamed;
  `engine.py`: fits and predicts all members at once; `choose.py`: picks
  hyper-parameters on the select split.
* `make.py`: heads and plans from config.probe.
"""
