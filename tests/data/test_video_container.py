"""What containers say about their video, and when not to believe them."""

import av
import numpy as np
import pytest

from tests.data import numbered
from vdr.data import video, video_container

# Decoding starts two frames before showing does.
DELAYED = {"bf": "2", "b-adapt": "0", "crf": "18"}


@pytest.mark.parametrize("suffix", ["flv", "asf", "mkv", "mp4", "ts", "avi"])
def test_the_delay_of_decoding_is_no_missing_part(tmp_path, suffix):
  """FLV and ASF promise 2.2 s for 20 frames at 10 fps."""
  path = numbered.write(tmp_path / f"a.{suffix}", 20, fps=10, options=DELAYED)
  times_s = video.VideoFile(str(path)).table.times_s
  np.testing.assert_allclose(times_s - times_s[0], np.arange(20) / 10)


@pytest.mark.parametrize("movflags", ["frag_keyframe+empty_moov", "+faststart"])
def test_fragments_are_no_missing_parts(tmp_path, movflags):
  path = numbered.write(
    tmp_path / "a.mp4", 20, options=DELAYED, muxer={"movflags": movflags}
  )
  assert len(video.VideoFile(str(path)).table.times_s) == 20


@pytest.mark.parametrize("suffix", ["flv", "mkv", "avi"])
def test_half_a_file_is_cut_off(tmp_path, suffix):
  path = numbered.write(tmp_path / f"a.{suffix}", 80, options=DELAYED)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  with pytest.raises(video.VideoError, match="cut off|Invalid data"):
    video.VideoFile(str(path))


def test_steady_stamps_have_the_rate_of_the_stream(tmp_path):
  path = numbered.write(tmp_path / "a.mkv", 4, fps=20)
  container, stream = video_container.open_video(str(path))
  stamps = video_container.steady_pts(container, stream, 4)
  assert stamps.tolist() == [0, 50, 100, 150]  # milliseconds
  container.close()


def test_files_without_a_video_say_so(tmp_path):
  path = tmp_path / "a.mkv"
  path.write_bytes(b"")
  with pytest.raises(video.VideoError, match="empty"):
    video_container.open_video(str(path))
  with av.open(str(path), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16")
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(video.VideoError, match="no video"):
    video_container.open_video(str(path))
  with pytest.raises(video.VideoError, match="No such file"):
    video_container.open_video(str(tmp_path / "missing.mp4"))
