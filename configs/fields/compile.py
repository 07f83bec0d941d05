"""The fields of config.compile."""

from typing import Any

from vdr.runtime.bounds import count, fraction, section, texts, whole


@section
def compile_() -> dict[str, Any]:
  """Steps compiled for a slice that need not be there (vdr/compile.py)."""
  return dict(
    steps=texts(("train", "extract", "sample")),  # which, of vdr/programs.py
    clips=count(8),  # of a call of extract; sample has sample.batch_size
    text_tokens=count(77, most=65536),  # of a text, with model.text_dim
    # What a product of matrices reaches of a chip's peak. Not measured here:
    # large bfloat16 products are reported at .9 and more on TPUs.
    efficiency=fraction(0.85, above=0),  # of peak
    # When a step does not fit, what would make it fit is looked for.
    max_candidates=whole(4),  # compilations spent on that; 0: none
    save_hlo=False,  # also writes STEP.hlo.txt, the compiled program
  )
