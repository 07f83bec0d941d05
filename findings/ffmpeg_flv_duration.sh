#!/usr/bin/env bash
# Surprise: 20 frames at 10 a second last 2.2 s in the FLV and ASF (WMV) that
# FFmpeg writes, if they have B-frames: the duration counts the decoding delay.
#
# Most people expect 2.0 s, which MP4, Matroska and MPEG-TS say of the same
# stream, and FLV and ASF without B-frames.
#
# Why it matters: a comparison of what was decoded with container.duration, to
# find downloads that are cut short, refuses whole files: two frames seem to be
# missing. FLV says the delay in start_time; ASF has no start_time.
#
# Installs the versions below in a temporary folder. Exits 1 if they behave
# otherwise than printed here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0
cd "$folder"
env -u PYTHONPATH "$folder/venv/bin/python" - <<'PYTHON'
import io
import sys

import av

FRAMES, RATE = 20, 10

def write(container, options):
  file = io.BytesIO()
  with av.open(file, "w", format=container) as out:
    stream = out.add_stream("libx264", rate=RATE, options=options)
    stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
    for i in range(FRAMES):
      frame = av.VideoFrame(64, 64, "yuv420p")
      for plane, value in zip(frame.planes, (16 + 10 * i, 128, 128)):
        plane.update(bytes([value]) * plane.buffer_size)
      frame.pts = i
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  file.seek(0)
  return file

print("python", sys.version.split()[0], "PyAV", av.__version__, "FFmpeg",
      av.ffmpeg_version_info, "libavformat", av.library_versions["libavformat"])
same = True
for container in ("flv", "asf", "mp4", "matroska", "mpegts"):
  for b_frames in (2, 0):
    options = {"bf": str(b_frames), "x264-params": "b-adapt=0"}
    with av.open(write(container, options)) as video:
      times = [frame.time for frame in video.decode(video=0)]
      duration = video.duration / av.time_base
      start = video.start_time
    lasts = max(times) - min(times) + 1 / RATE
    print(f"{container}, bf={b_frames}: {len(times)} frames from"
          f" {min(times):.1f} to {max(times) + 1 / RATE:.1f} s, that is"
          f" {lasts:.1f} s; duration {duration:.2f} s, start_time",
          start if start is None else f"{start / av.time_base} s")
    counted = 0.2 if b_frames and container in ("flv", "asf") else 0
    same &= len(times) == FRAMES and abs(lasts - 2) < 0.01
    same &= abs(duration - 2 - counted) < 0.01
print("as described" if same else "the behaviour has changed")
sys.exit(not same)
PYTHON
