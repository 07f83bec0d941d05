"""Exact frames, whatever the container, the codec and the clock."""

import dataclasses
import fractions

import av
import numpy as np
import pytest

from tests.data import containers, numbered
from vdr.data import transforms, video

FAST = {"preset": "ultrafast", "crf": "18"}
# Name, arguments of numbered.write.
KINDS = {
  "b_frames.mp4": dict(
    options={"bf": "3", "b-pyramid": "normal", "crf": "18"}, gop=12
  ),
  "open_gop.mp4": dict(
    options={"bf": "2", "x264-params": "open-gop=1", "crf": "18"}
  ),
  "b_frames.mkv": dict(options={"bf": "2", "crf": "18"}),
  "h265.mp4": dict(
    codec="libx265", options={"x265-params": "log-level=none:bframes=3"}
  ),
  "vp9.webm": dict(
    codec="libvpx-vp9",
    options={"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1"},
    num_frames=30,
  ),
  "mpeg4.avi": dict(codec="mpeg4"),
  "mpeg4_b_frames.avi": dict(codec="mpeg4", options={"bf": "2"}),
  "h264_b_frames.avi": dict(options={"bf": "2", "crf": "18"}),
  "all_keyframes.mp4": dict(gop=1, options=FAST),
  "uneven.mp4": dict(
    num_frames=30,
    options={"bf": "2", "crf": "18"},
    pts=np.cumsum(np.random.default_rng(0).integers(1, 9, 30)).tolist(),
  ),
  "uneven.mkv": dict(
    num_frames=30,
    options=FAST,
    pts=np.cumsum(np.random.default_rng(1).integers(1, 9, 30)).tolist(),
  ),
}


def read(file: video.VideoFile, indices, box=None, size=None, mirrored=False):
  whole = (0, 0, file.table.stored_height, file.table.stored_width)
  height, width = size or whole[2:]
  out = np.zeros((len(indices), height, width, 3), np.uint8)
  file.read(np.asarray(indices), box or whole, out, mirrored)
  return out


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_is_the_one_asked_for(tmp_path, name):
  path = numbered.write(tmp_path / name, **KINDS[name])
  file = video.VideoFile(str(path))
  n = KINDS[name].get("num_frames", 40)
  assert len(file.table.times_s) == n
  rng = np.random.default_rng(0)
  for size in (n, 1, 1, 5, 5, 5, 5):
    indices = rng.permutation(n)[:size]
    frames = read(file, indices)
    assert [numbered.number_of(f) for f in frames] == indices.tolist()
  file.close()


@pytest.mark.parametrize("name", [k for k in KINDS if "uneven" in k])
def test_times_are_those_of_uneven_files(tmp_path, name):
  path = numbered.write(tmp_path / name, **KINDS[name])
  file = video.VideoFile(str(path))
  times_s = file.table.times_s - file.table.times_s[0]
  pts = np.array(KINDS[name]["pts"])
  np.testing.assert_allclose(times_s, (pts - pts[0]) / 25, atol=1e-3)


@pytest.mark.parametrize("name", ["b_frames.mp4", "b_frames.mkv", "mpeg4.avi"])
def test_time_starts_at_zero(tmp_path, name):
  file = video.VideoFile(str(numbered.write(tmp_path / name, **KINDS[name])))
  np.testing.assert_allclose(file.table.times_s, np.arange(40) / 25, atol=1e-3)


@pytest.mark.parametrize(
  "suffix, codec", [("mkv", "libx264"), ("webm", "libvpx")]
)
def test_times_do_not_come_from_the_rate_of_the_header(tmp_path, suffix, codec):
  """The header says 30 frames a second; 13.6 are shown."""
  pts = np.random.default_rng(0).permutation([1, 2, 2, 3, 3] * 6).cumsum()
  path = numbered.write(
    tmp_path / f"a.{suffix}",
    len(pts),
    codec=codec,
    fps=30,
    pts=pts.tolist(),
    options={"deadline": "realtime"} if codec == "libvpx" else FAST,
  )
  with av.open(str(path)) as container:
    assert container.streams.video[0].average_rate == 30
  times_s = video.VideoFile(str(path)).table.times_s
  assert 29 / (times_s[-1] - times_s[0]) == pytest.approx(13.6, abs=0.1)
  np.testing.assert_allclose(
    times_s - times_s[0], (pts - pts[0]) / 30, atol=1e-3
  )


def test_a_clip_begins_with_the_keyframe_that_it_is_cut_at(tmp_path):
  """Frames that are stored after it, but shown before, are no part of it."""
  path = numbered.write(
    tmp_path / "a.mp4", 40, options={"x264-params": containers.OPEN_GOP}
  )
  file = video.VideoFile(str(path))
  keyframes = np.searchsorted(file.table.pts, file.table.access.pts)
  assert len(keyframes) > 2
  for first in keyframes[1:].tolist():
    wanted = [first - 2, first - 1, first, first + 1]
    for indices in (wanted, wanted[2:], wanted[1:2]):
      frames = read(file, indices)
      assert [numbered.number_of(f) for f in frames] == indices


def test_a_seek_that_misses_is_noticed(tmp_path, monkeypatch):
  """Files whose index lies are read from their start."""
  path = numbered.write(tmp_path / "a.mp4", 40, options=FAST)
  table = video.VideoFile(str(path)).table
  access = dataclasses.replace(table.access, places=table.access.places + 1)
  file = video.VideoFile(str(path), dataclasses.replace(table, access=access))
  frames = read(file, [25, 31])
  assert [numbered.number_of(f) for f in frames] == [25, 31]


def test_keyframes_that_are_none_are_noticed(tmp_path):
  """Some programs write that every frame is a keyframe."""
  path = numbered.write(tmp_path / "a.mp4", 40, codec="mpeg4", gop=250)
  data = bytearray(path.read_bytes())
  data[data.index(b"stss") : data.index(b"stss") + 4] = b"free"
  path.write_bytes(bytes(data))
  file = video.VideoFile(str(path))
  assert len(file.table.access.pts) == 40
  containers.assert_reads(path, containers.shown(path))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
@pytest.mark.parametrize(
  "aspect, width", [("16/11", 186), ("8/9", 114), ("1", 128)]
)
def test_pixels_that_are_no_squares_are_displayed_as_squares(
  tmp_path, suffix, aspect, width
):
  path = numbered.write(
    tmp_path / f"a.{suffix}",
    4,
    options=FAST,
    aspect=fractions.Fraction(aspect),
  )
  table = video.VideoFile(str(path)).table
  assert (table.height, table.width) == (96, width)
  assert (table.stored_height, table.stored_width) == (96, 128)


def test_rotated_pixels_are_stretched_along_the_side_that_was_wide(tmp_path):
  path = numbered.write(
    tmp_path / "a.mp4",
    4,
    options=FAST,
    rotation=(90, False),
    aspect=fractions.Fraction(3, 2),
  )
  table = video.VideoFile(str(path)).table
  assert (table.height, table.width) == (192, 96)
  assert (table.stored_height, table.stored_width) == (128, 96)


def test_frames_may_repeat(tmp_path):
  path = numbered.write(tmp_path / "a.mp4", 20, options=FAST)
  frames = read(video.VideoFile(str(path)), [7, 3, 7, 7, 0])
  assert [numbered.number_of(f) for f in frames] == [7, 3, 7, 7, 0]


@pytest.mark.parametrize(
  "suffix, codec", [("mp4", "libx264"), ("mkv", "libx264"), ("avi", "mpeg4")]
)
def test_decoding_starts_at_the_keyframe_before(tmp_path, suffix, codec):
  path = tmp_path / f"long.{suffix}"
  numbered.write(path, 300, codec=codec, gop=20, options={"sc_threshold": "0"})
  file = video.VideoFile(str(path))
  # A second opening has nothing left over from the scan.
  file = video.VideoFile(str(path), file.table)
  for first in (0, 150, 287):
    before = file.num_decoded
    indices = [first, first + 5]
    frames = read(file, indices)
    assert [numbered.number_of(f) for f in frames] == indices
    # At most a group of pictures and what the decoder holds back.
    assert file.num_decoded - before <= 20 + 6 + 4


def test_frames_that_nobody_needs_are_left_out(tmp_path):
  path = tmp_path / "a.mp4"
  options = {"bf": "3", "b-adapt": "0", "b-pyramid": "none"}
  numbered.write(path, 80, gop=80, options=options)
  file = video.VideoFile(str(path))
  before = file.num_decoded
  assert numbered.number_of(read(file, [72])[0]) == 72
  assert file.num_decoded - before < 40


CORNERS = np.zeros((32, 48, 3), np.uint8)
CORNERS[:16, :24] = 250, 0, 0
CORNERS[16:, :24] = 0, 250, 0
CORNERS[:16, 24:] = 0, 0, 250


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flags_are_honoured(tmp_path, degrees, mirror):
  path = numbered.write(
    tmp_path / "a.mp4",
    pictures=[CORNERS] * 3,
    options=FAST,
    rotation=(degrees, mirror),
  )
  expected = np.rot90(CORNERS, degrees // 90)
  expected = expected[:, ::-1] if mirror else expected
  file = video.VideoFile(str(path))
  assert (file.table.height, file.table.width) == expected.shape[:2]
  frame = read(file, [1])[0]
  assert np.abs(frame.astype(int) - expected).mean() < 6
  # A box is one of the displayed picture, and so is the mirror of a crop.
  height, width = expected.shape[:2]
  box = (4, 2, height - 8, width // 2)
  part = read(file, [1], box, (12, 8), mirrored=True)[0]
  assert part.shape == (12, 8, 3)
  cut = read(file, [1], box, (height - 12, width // 2 - 2))[0]
  assert (
    np.abs(cut.astype(int) - expected[box[0] : box[2], box[1] : box[3]]).mean()
    < 6
  )
  np.testing.assert_array_equal(part, read(file, [1], box, (12, 8))[0][:, ::-1])


PIXEL_FORMATS = {
  "yuv420p": "libx264",
  "yuv422p": "libx264",
  "yuv444p": "libx264",
  "yuv420p10le": "libx264",
  "nv12": "libx264",
  "yuv411p": "ffv1",
  "yuv410p": "ffv1",
  "yuv440p": "ffv1",
  "gray": "ffv1",
  "bgr0": "ffv1",
}


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_crops_are_cut_exactly(tmp_path, pixel_format):
  """A crop of a smooth picture is that part of it, in every pixel format."""
  y, x = np.mgrid[0:64, 0:96]
  smooth = np.stack([40 + 2 * x, 40 + 2 * y, 200 - x], -1).astype(np.uint8)
  if pixel_format == "gray":
    smooth = np.repeat(smooth[..., :1], 3, -1)
  path = numbered.write(
    tmp_path / "a.mkv",
    pictures=[smooth] * 2,
    codec=PIXEL_FORMATS[pixel_format],
    options={"crf": "1"} if PIXEL_FORMATS[pixel_format] == "libx264" else {},
    pixel_format=pixel_format,
  )
  file = video.VideoFile(str(path))
  box = (12, 20, 52, 84)
  part = read(file, [1], box, (40, 64))[0]
  np.testing.assert_allclose(
    part.astype(int)[2:-2, 2:-2], smooth[14:50, 22:82], atol=5
  )
  # Shrunk to a quarter: means of blocks of pixels, half-pixel centres.
  small = read(file, [1], box, (10, 16))[0].astype(float)
  blocks = smooth[12:52, 20:84].reshape(10, 4, 16, 4, 3).mean((1, 3))
  np.testing.assert_allclose(small[1:-1, 1:-1], blocks[1:-1, 1:-1], atol=3)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_crops_keep_chroma_in_its_place(tmp_path, pixel_format, scale):
  """A crop is that part of the whole picture, wherever it is snapped to.

  Scaled, also the place that a file names for its chroma matters: H.264 has it
  at the left of its pixels.
  """
  rng = np.random.default_rng(0)
  blocks = rng.integers(40, 200, (8, 12, 3), np.uint8)
  path = numbered.write(
    tmp_path / "a.mkv",
    pictures=[blocks.repeat(8, 0).repeat(8, 1)] * 2,
    codec=PIXEL_FORMATS[pixel_format],
    pixel_format=pixel_format,
  )
  file = video.VideoFile(str(path))
  whole = read(file, [1], None, (64 * scale, 96 * scale))[0].astype(int)
  for _ in range(12):
    y, x = rng.uniform(0, 0.4, 2)
    affine = transforms.affine_of_box((y, x, y + 0.5, x + 0.5))
    affine = transforms.snap(affine, 64, 96, file.table.crop_steps)
    y0, x0, y1, x1 = transforms.box_px(affine, 64, 96)
    size = scale * (y1 - y0), scale * (x1 - x0)
    part = read(file, [1], (y0, x0, y1, x1), size)[0]
    y0, x0, y1, x1 = (scale * edge for edge in (y0, x0, y1, x1))
    # At the edges, chroma is interpolated from what is left.
    off = np.abs(part - whole[y0:y1, x0:x1])[8:-8, 8:-8]
    assert off.max() <= 1


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("size", [(96, 128), (33, 40)])
def test_white_is_white(tmp_path, pixel_format, size):
  """With PyAV's flags of choice the white of 10 bits is 253."""
  white = [np.full((96, 128, 3), 255, np.uint8)] * 2
  path = numbered.write(
    tmp_path / "a.mp4", pictures=white, options=FAST, pixel_format=pixel_format
  )
  assert read(video.VideoFile(str(path)), [1], None, size).min() == 255


def corrupted(data: bytes) -> bytes:
  damaged = bytearray(data)
  rng = np.random.default_rng(0)
  for place in rng.integers(len(data) // 4, len(data) * 9 // 10, 200):
    damaged[place] ^= 0xFF
  return bytes(damaged)


DAMAGES = {
  "empty": lambda data: b"",
  "zeros": lambda data: bytes(len(data)),
  "text": lambda data: b"this is no video\n" * 99,
  "half": lambda data: data[: len(data) // 2],
  "most": lambda data: data[: len(data) * 8 // 10],
  "flipped": corrupted,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
  "name", ["b_frames.mp4", "b_frames.mkv", "vp9.webm", "mpeg4.avi"]
)
def test_damaged_files_say_so(tmp_path, name, damage):
  path = numbered.write(tmp_path / name, **KINDS[name])
  path.write_bytes(DAMAGES[damage](path.read_bytes()))
  with pytest.raises(video.VideoError) as caught:
    file = video.VideoFile(str(path))
    read(file, range(len(file.table.times_s)))
  assert str(path) not in str(caught.value)
  assert len(str(caught.value)) > 10


def test_playlists_open_no_other_files(tmp_path):
  numbered.write(tmp_path / "a.mp4", 5, options=FAST)
  path = tmp_path / "b.mp4"
  path.write_text("ffconcat version 1.0\nfile a.mp4\n")
  with pytest.raises(video.VideoError):
    video.VideoFile(str(path))


def test_sound_alone_is_no_video(tmp_path):
  path = tmp_path / "a.mkv"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000)
    samples = np.zeros((1, 800), np.int16)
    frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(video.VideoError, match="no video"):
    video.VideoFile(str(path))
