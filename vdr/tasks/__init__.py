"""All tasks, by name.

| name | asks | primary metric |
|---|---|---|
| `shape` | the shape of the main object, of one frame | top-1 |
| `action` | its motion | top-1 |
| `depth` | metres, of every pixel of some frames | AbsRel |
| `pose` | how the camera moved, first to last frame | R² |
| `points` | where points of frame 0 go | mean error, px of 256 |
| `boxes` | where objects of frame 0 go | IoU |
| `label` | the class of a user's own labelled clips | top-1 |
| `label_image` | the same of one frame | top-1 |
"""

from collections.abc import Callable, Mapping

from vdr.runtime import errors
from vdr.tasks import boxes, classes, depth, points, pose
from vdr.tasks.task import Task

ClassNames = Mapping[str, tuple[str, ...]]


def _classes(
  name: str, title: str, label: str, is_image: bool
) -> Callable[[ClassNames, int], Task]:
  def make(class_names: ClassNames, num_frames: int) -> Task:
    del num_frames
    names = class_names.get(label, ())
    return classes.make_task(name, title, label, names, is_image)

  return make


TASKS: dict[str, Callable[[ClassNames, int], Task]] = {
  "shape": _classes("shape", "image classification", "shape", True),
  "action": _classes("action", "action recognition", "action", False),
  "depth": lambda names, num_frames: depth.make_task(num_frames),
  "pose": lambda names, num_frames: pose.make_task(),
  "points": lambda names, num_frames: points.make_task(),
  "boxes": lambda names, num_frames: boxes.make_task(),
  "label": _classes("label", "clip classification", "label", False),
  "label_image": _classes("label_image", "image classification", "label", True),
}


def make(name: str, class_names: ClassNames, num_frames: int) -> Task:
  """The task of a name.

  Args:
    name: one of `TASKS`.
    class_names: of the label fields of the data.
    num_frames: pixel frames of a clip.

  Raises:
    UserError: there is none, or the data have no such labels.
  """
  if name not in TASKS:
    raise errors.UserError(
      f"task {name!r} is unknown; choose from {', '.join(TASKS)}"
    )
  return TASKS[name](class_names, num_frames)
