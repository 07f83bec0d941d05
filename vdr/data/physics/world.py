"""A scene as a MuJoCo model: moved through time, and asked with rays.

The main object is a mocap body that follows `motion.main_poses` and touches
nothing; the distractors are free bodies that fall, roll and collide with the
ground and with each other. An unseen wall keeps them out of the main object's
reach, so that where they lie never tells what it did.
"""

import dataclasses
import functools

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int

from vdr import geometry
from vdr.data.physics import motion, scenes

GROUND, FIRST_OBJECT = 1, 2  # in a segmentation; 0 is the sky
FAR_M = 60.0  # nothing is seen beyond
PHYSICS_HZ = 120
CONE_SIDES = 32
_SEEN = np.array([1, 0, 0, 0, 0, 0], np.uint8)  # geom groups that rays meet


@dataclasses.dataclass(frozen=True)
class Trajectories:
  """Where everything is at each frame; o objects, 0 the main one if any."""

  object_to_world: Float[np.ndarray, "o t 4 4"]
  camera_to_world: Float[np.ndarray, "t 4 4"]
  light_m: Float[np.ndarray, "t 3"]


class World:
  """One scene in MuJoCo."""

  def __init__(self, scene: scenes.Scene, num_frames: int, fps: float):
    self.scene = scene
    self.bodies = (*([scene.main] if scene.main else []), *scene.distractors)
    self._model = _build(scene)
    self._data = mujoco.MjData(self._model)
    mujoco.mj_kinematics(self._model, self._data)  # places what stands still
    self.trajectories = self._simulate(num_frames, fps)
    # Of spheres around each body: corners lie farthest from the origin.
    self._radii_m = np.array(
      [np.linalg.norm(body.half_extents_m) for body in self.bodies]
    )
    self._geom_to_world = self.trajectories.object_to_world @ _geom_to_body(
      self._model, len(self.bodies)
    )

  def _simulate(self, num_frames: int, fps: float) -> Trajectories:
    scene, times_s = self.scene, np.arange(num_frames) / fps
    poses = np.tile(np.eye(4), (len(self.bodies), num_frames, 1, 1))
    first = 0
    if scene.main:
      poses[0] = motion.main_poses(scene.main, scene.motion, times_s)
      first = 1
    if scene.distractors:
      _throw(self._data, scene.distractors)
      substeps = max(1, round(PHYSICS_HZ / fps))
      self._model.opt.timestep = 1.0 / fps / substeps
      for t in range(num_frames):
        if t:
          mujoco.mj_step(self._model, self._data, substeps)
        mujoco.mj_kinematics(self._model, self._data)
        # Bodies: 0 the world, then ours in order.
        moved = slice(1 + first, 1 + len(self.bodies))
        poses[first:, t, :3, :3] = self._data.xmat[moved].reshape(-1, 3, 3)
        poses[first:, t, :3, 3] = self._data.xpos[moved]
    light = scene.light
    return Trajectories(
      object_to_world=poses,
      camera_to_world=motion.camera_poses(scene.camera, num_frames),
      light_m=np.array(light.position_m)
      + times_s[:, None] * np.array(light.velocity_m_s),
    )

  def pose(self, t: int) -> None:
    """Puts every body where it is at frame t, for the rays that follow."""
    ours = slice(1, 1 + len(self.bodies))  # geom 0 is the ground
    self._data.geom_xpos[ours] = self._geom_to_world[:, t, :3, 3]
    self._data.geom_xmat[ours] = self._geom_to_world[:, t, :3, :3].reshape(
      -1, 9
    )
    self._centres_m = self.trajectories.object_to_world[:, t, :3, 3]

  def cast(
    self, origin_m: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"]
  ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Casts rays from one point at the bodies of the frame last posed.

    Args:
      origin_m: where all rays start.
      directions: unit vectors.

    Returns:
      What each ray meets (0 nothing, GROUND, FIRST_OBJECT + o), and how far
      away (metres, FAR_M for nothing).
    """
    label, distance, _ = self._cast(origin_m, directions, with_normals=False)
    return label, distance

  def cast_surfaces(
    self, origin_m: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"]
  ) -> tuple[
    Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]
  ]:
    """As `cast`, and the surfaces' unit normals, world axes, 0 for nothing."""
    return self._cast(origin_m, directions, with_normals=True)

  def _cast(
    self,
    origin_m: Float[np.ndarray, "3"],
    directions: Float[np.ndarray, "n 3"],
    with_normals: bool,
  ) -> tuple[
    Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "m 3"]
  ]:
    """Casts with MuJoCo only the rays that come near a body.

    Most don't: those meet the plane z = 0 or nothing. Without normals, the
    last array is empty.
    """
    n = len(directions)
    with np.errstate(divide="ignore"):
      distance = -origin_m[2] / directions[:, 2]
    missed = ~((distance > 0) & (distance <= FAR_M))
    distance[missed] = FAR_M
    label = np.where(missed, 0, GROUND)
    normals = np.zeros((3, n if with_normals else 0)).T
    if with_normals:
      normals[:, 2] = label
    near = self._near(origin_m, directions)
    if near.size:
      label[near], distance[near], surfaces = self._cast_near(
        origin_m, np.take(directions, near, axis=0), with_normals
      )
      if with_normals:
        normals[near] = surfaces
    return label, distance, normals

  def _near(
    self, origin_m: Float[np.ndarray, "3"], directions: Float[np.ndarray, "n 3"]
  ) -> Int[np.ndarray, " m"]:
    """Which rays pass through the bounding sphere of any body."""
    to_centres = self._centres_m - origin_m  # [o 3]
    # In float64 the difference of squares is exact to far below a millimetre.
    along = to_centres @ directions.T  # [o n], the longer axis last for speed
    reach2 = np.square(to_centres).sum(axis=-1, keepdims=True)
    radii = self._radii_m[:, None]
    hit = (reach2 - along * along <= radii * radii) & (along > -radii)
    return np.flatnonzero(hit.any(axis=0))

  def _cast_near(
    self,
    origin_m: Float[np.ndarray, "3"],
    directions: Float[np.ndarray, "n 3"],
    with_normals: bool,
  ) -> tuple[
    Int[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, "m 3"]
  ]:
    n = len(directions)
    geom, distance = np.empty(n, np.int32), np.empty(n)
    normals = np.empty(3 * n) if with_normals else None
    mujoco.mj_multiRay(
      self._model, self._data, np.ascontiguousarray(origin_m),
      np.ascontiguousarray(directions).ravel(), _SEEN, True, -1, geom, distance,
      normals, n, FAR_M,
    )  # fmt: skip
    missed = (geom < 0) | (distance > FAR_M)
    distance[missed] = FAR_M
    # Geom 0 is the ground, geom 1 + o object o: labels need no table.
    label = np.where(missed, 0, geom + GROUND)
    if normals is None:
      return label, distance, np.empty((0, 3))
    normals = normals.reshape(n, 3)
    normals[missed] = 0
    return label, distance, normals

  def sees(
    self, origin_m: Float[np.ndarray, "3"], points_m: Float[np.ndarray, "n 3"]
  ) -> Bool[np.ndarray, " n"]:
    """Whether nothing lies between the origin and each point."""
    offsets = points_m - origin_m
    reach = np.linalg.norm(offsets, axis=-1)
    _, distance = self.cast(origin_m, offsets / reach[:, None])
    # The surface that carries the point is met at the point itself.
    return distance > reach - 1e-3 * np.maximum(1.0, reach)


def _throw(data: mujoco.MjData, bodies: tuple[scenes.Body, ...]) -> None:
  """Sets the starting poses and velocities of free bodies."""
  for o, body in enumerate(bodies):
    data.qpos[7 * o : 7 * o + 3] = body.position_m
    data.qpos[7 * o + 3 : 7 * o + 7] = body.orientation
    data.qvel[6 * o : 6 * o + 3] = body.velocity_m_s
    data.qvel[6 * o + 3 : 6 * o + 6] = body.spin_rad_s


def _geom_to_body(
  model: mujoco.MjModel, num_bodies: int
) -> Float[np.ndarray, "o 1 4 4"]:
  """Where each geom sits on its body: MuJoCo moves meshes to their centre."""
  poses = np.tile(np.eye(4), (num_bodies, 1, 1, 1))
  for o in range(num_bodies):
    poses[o, 0, :3, :3] = geometry.rotation_matrix(model.geom_quat[1 + o])
    poses[o, 0, :3, 3] = model.geom_pos[1 + o]
  return poses


def _build(scene: scenes.Scene) -> mujoco.MjModel:
  spec = mujoco.MjSpec()
  # A stiff contact bounces; the implicit integrator keeps it stable.
  spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
  plane = mujoco.mjtGeom.mjGEOM_PLANE
  spec.worldbody.add_geom(type=plane, size=[0, 0, 1])
  bodies = [(scene.main, True)] if scene.main else []
  bodies += [(body, False) for body in scene.distractors]
  for body, driven in bodies:
    parent = spec.worldbody.add_body(mocap=driven, pos=body.position_m)
    if not driven:
      parent.add_freejoint()
    touches = 0 if driven else 1
    parent.add_geom(
      **_geom(spec, body),
      density=300,
      contype=touches,
      conaffinity=touches,
      solref=[0.03, 0.35],  # underdamped: things bounce
      friction=[0.7, 0.01, 0.002],
    )
  # The unseen wall that keeps distractors away from the main object. On a body
  # of its own, the last, so that geom o + 1 is object o.
  wall = spec.worldbody.add_body(
    pos=[0, scenes.FIELD_NEAR_Y, 0],
    quat=[np.sqrt(0.5), -np.sqrt(0.5), 0, 0],  # its normal is +y
  )
  wall.add_geom(type=plane, size=[0, 0, 1], group=5)
  return spec.compile()


def _geom(spec: mujoco.MjSpec, body: scenes.Body) -> dict:
  """MuJoCo's type and size of a shape."""
  x, y, z = body.half_extents_m
  geoms = mujoco.mjtGeom
  match body.shape:
    case "box":
      return dict(type=geoms.mjGEOM_BOX, size=[x, y, z])
    case "sphere":
      return dict(type=geoms.mjGEOM_SPHERE, size=[x, 0, 0])
    case "ellipsoid":
      return dict(type=geoms.mjGEOM_ELLIPSOID, size=[x, y, z])
    case "cylinder":
      return dict(type=geoms.mjGEOM_CYLINDER, size=[x, z, 0])
    case "capsule":
      return dict(type=geoms.mjGEOM_CAPSULE, size=[x, z - x, 0])
    case "cone":
      name = f"cone{len(spec.meshes)}"
      mesh = spec.add_mesh(name=name)
      mesh.uservert = (_unit_cone() * [x, y, z]).ravel()
      return dict(type=geoms.mjGEOM_MESH, meshname=name)
    case _:
      raise ValueError(f"unknown shape {body.shape!r}")


@functools.cache
def _unit_cone() -> Float[np.ndarray, "v 3"]:
  """Tip at +z, base at -z; MuJoCo takes the convex hull."""
  angle = np.linspace(0, 2 * np.pi, CONE_SIDES, endpoint=False)
  base = np.stack([np.cos(angle), np.sin(angle), -np.ones(CONE_SIDES)], -1)
  return np.concatenate([base, [[0.0, 0.0, 1.0]]])
