#!/usr/bin/env bash
# Surprise: PyAV resizes a picture otherwise once its planes were copied into a
# new av.VideoFrame: the same bytes differ by 20 to 76 grey levels at coloured
# edges. At equal size they come out the same.
#
# Most people expect pixels, format, colour space and range to decide. But 4:2:0
# also has a place where its chroma samples lie: left in H.264, the centre if
# nothing is said. libswscale reads it from the frame, but only if it resizes. A
# decoded frame has it; PyAV has no attribute to read or set it.
#
# Why it matters: a crop by slicing arrays, or frames kept as arrays and resized
# later, shift all colours by half a pixel. FFmpeg's crop filter keeps the
# place, and its setparams filter sets it.
#
# Installs the versions below in a temporary folder. Exits 1 if they behave
# otherwise than printed here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  av==18.1.0 numpy==2.4.6
cd "$folder"
env -u PYTHONPATH "$folder/venv/bin/python" - <<'PYTHON'
import fractions
import io
import sys

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

print("python", sys.version.split()[0], "PyAV", av.__version__, "FFmpeg",
      av.ffmpeg_version_info, "libswscale", av.library_versions["libswscale"])
SIZE = 128
FULL_CHROMA = (Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT
               | Interpolation.FULL_CHR_H_INP)

picture = np.full((SIZE, SIZE, 3), (0, 0, 255), np.uint8)
picture[:, 32:96] = 255, 0, 0  # a red bar on blue
file = io.BytesIO()
with av.open(file, "w", format="mp4") as out:
  stream = out.add_stream("libx264", rate=10, options={"crf": "1"})
  stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
  out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
  out.mux(stream.encode())
file.seek(0)
with av.open(file) as video:
  decoded = next(video.decode(video=0))

copied = av.VideoFrame.from_ndarray(decoded.to_ndarray(), "yuv420p")
copied.colorspace, copied.color_range = decoded.colorspace, decoded.color_range
assert np.array_equal(copied.to_ndarray(), decoded.to_ndarray())

def through(frame, *named):
  graph = av.filter.Graph()
  source = graph.add_buffer(width=SIZE, height=SIZE, format=frame.format,
                            time_base=fractions.Fraction(1, 10))
  graph.link_nodes(source, graph.add(*named), graph.add("buffersink"))
  graph.configure()
  graph.push(frame)
  return graph.pull()

others = {
    "copied": copied,
    "copied, setparams left": through(
        copied, "setparams", "chroma_location=left"),
    "decoded, crop filter": through(decoded, "crop", f"{SIZE}:{SIZE}:0:0"),
    "decoded, setparams center": through(
        decoded, "setparams", "chroma_location=center"),
}
off = {}
for size in (SIZE // 2, SIZE, SIZE * 3 // 2):
  for label, how in ("BILINEAR", Interpolation.BILINEAR), (
      "with full chroma", FULL_CHROMA):
    made = [VideoReformatter().reformat(
        frame, size, size, "rgb24", interpolation=how).to_ndarray().astype(int)
        for frame in (decoded, *others.values())]
    off[size, label] = [abs(one - made[0]).max() for one in made[1:]]
    print(f"{SIZE} -> {size}, {label}: off by at most " + ", ".join(
        f"{o} ({name})" for name, o in zip(others, off[size, label])))

same = not hasattr(av.VideoFrame, "chroma_location") and all(
    left == crop == 0 and copy == center and (copy == 0 if size == SIZE
                                              else copy >= 15)
    for (size, _), (copy, left, crop, center) in off.items())
print("as described" if same else "the behaviour has changed")
sys.exit(not same)
PYTHON
