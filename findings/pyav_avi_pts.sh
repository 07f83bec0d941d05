#!/usr/bin/env bash
# Surprise: PyAV decodes H.264 with B-frames from AVI in the right order, but
# frame.pts belongs to other frames: frames 0, 1, 2, 3, 4 have 1, 4, 3, 5, 2.
#
# Most people expect pts that increase, or at least that frame.pts is the time
# of that frame. AVI stores none: FFmpeg numbers packets in the order in which
# they are stored, and each frame keeps its packet's number. The command ffmpeg
# repairs this by a guess (best_effort_timestamp) that PyAV does not show.
#
# Why it matters: action recognition data still comes as AVI. MPEG-4 Part 2 has
# pts in order there; encoded again as H.264, "decode until pts >= t" returns
# wrong frames, and half of the frames for no t. Count frames as they are
# decoded. frame.opaque says which packet a frame came from, with
# codec_context.copy_opaque = True and packet.opaque = number.
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
import io
import sys

import av

FRAMES, STEP = 36, 6  # frame i is grey 16 + 6 i
X264 = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"
                       ":bframes=3:b-adapt=0", "crf": "10"}
MPEG4 = {"bf": "2", "qmin": "1", "qmax": "1", "sc_threshold": "1000000000"}

def write(container, codec, options):
  file = io.BytesIO()
  with av.open(file, "w", format=container) as out:
    stream = out.add_stream(codec, rate=10, options=options)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for i in range(FRAMES):
      frame = av.VideoFrame(64, 64, "yuv420p")
      for plane, value in zip(frame.planes, (16 + STEP * i, 128, 128)):
        plane.update(bytes([value]) * plane.buffer_size)
      frame.pts = i
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  return file.getvalue()

def number(frame):
  return round((frame.to_ndarray()[:64].mean() - 16) / STEP)

print("python", sys.version.split()[0], "PyAV", av.__version__, "FFmpeg",
      av.ffmpeg_version_info, "libavformat", av.library_versions["libavformat"])
seen = {}
for name, file in {
    "H.264 in AVI": write("avi", "libx264", X264),
    "H.264 in MP4": write("mp4", "libx264", X264),
    "MPEG-4 in AVI": write("avi", "mpeg4", MPEG4),
}.items():
  with av.open(io.BytesIO(file)) as video:
    stream, rows = video.streams.video[0], []
    stream.codec_context.copy_opaque = True
    tick = round(0.1 / stream.time_base)  # of a frame, in units of pts
    for i, packet in enumerate(video.demux(stream)):
      packet.opaque = i
      rows += [(number(f), f.pts // tick, f.opaque) for f in packet.decode()]
    numbers, pts, packets = zip(*rows)
  # The first frame that is not before t, for the time t of each frame.
  found = [next(n for n, p in zip(numbers, pts) if p >= t) for t in sorted(pts)]
  seen[name] = numbers, pts, packets, found
  right = sum(a == b for a, b in enumerate(found))
  print(f"{name}\n  frames  {numbers[:12]} …\n  pts     {pts[:12]} …\n"
        f"  packets {packets[:12]} …\n  decode until pts >= t, for each t:"
        f" {right} of {FRAMES} right, {len(set(found))} frames ever returned")

avi, mp4, mpeg4 = seen.values()
same = (
    all(list(one[0]) == list(range(FRAMES)) for one in seen.values())
    and avi[1][:6] == (1, 4, 3, 5, 2, 8)
    and avi[2][:6] == mp4[2][:6] == (0, 3, 2, 4, 1, 7)
    and sum(a == b for a, b in enumerate(avi[3])) < FRAMES / 2
    and len(set(avi[3])) < 0.75 * FRAMES
    and mp4[3] == mpeg4[3] == list(range(FRAMES))
)
print("as described" if same else "the behaviour has changed")
sys.exit(not same)
PYTHON
