"""An avatar's own video with another mouth, against that video without: a seam of which there is no ground truth.

Around the mouth the recorded frame is the truth. Inside of the seam it is not, quite: the recorded jaw says something
else, so a step across the seam holds the jaws' difference too. S x S pixels, the avatar's size; F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from geneface.avatar.body import Body
from geneface.avatar.performance import Performance
from geneface.avatar.view import source_view
from geneface.evaluation.drawing import LowerFaces
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.protocol.seams import SeamScores
from geneface.evaluation.protocol.videos import Chunk
from geneface.evaluation.schema import MetricTable
from geneface.evaluation.subjects import EvaluatedAvatar
from geneface.render import planes
from geneface.types import ByteArray, FloatArray, HeadPose, MotionTrack, ProgressFn, Waveform

LOOP_FRAMES = 100
"""Of the sentence's beginning."""
_NOTE = (
    "The bundled sentence, said on the avatar's own video: {frames} frames, against the same frames as they were "
    "recorded. Their jaw says something else, which is part of the step. Controls are the recorded frames with their "
    "own lower face pasted in badly."
)


def loop_table(avatar: EvaluatedAvatar, sound: Waveform, progress: ProgressFn) -> MetricTable | None:
    """The seam of an avatar on its own video; None if it carries none."""
    body = avatar.files.body
    if body is None:
        return None
    motion = avatar.motion(sound, Performance(body="source"))[:LOOP_FRAMES]
    name = f"{avatar.name}, pasted, from speech"
    scores = SeamScores((), (name,), name)
    recorded, pasted, masks = zip(*_pictures(avatar, body, motion), strict=True)
    references = [ReferenceFrame(picture) for picture in recorded]
    scores.add(Chunk("loop", references, {name: pasted}, (), recorded[0], None, masks={name: masks}))
    progress("the bundled sentence on its own video", scores.frames, len(motion))
    return scores.table(None, _NOTE.format(frames=scores.frames))


def _pictures(
    avatar: EvaluatedAvatar, body: Body, motion: MotionTrack
) -> Iterator[tuple[ByteArray, ByteArray, FloatArray]]:
    """Recorded frame, the same with the lower face of the motion, and the mask, in the square of the camera."""
    assert motion.body is not None
    camera, track = avatar.camera, body.track
    view = source_view(body.width, body.height, body.crop, camera.focal, camera.width, "crop")
    faces = LowerFaces(avatar, view.camera)
    # The square may stick out of the view by a pixel or two: there its border goes on.
    rows = np.clip(np.arange(view.camera.height) + view.top, 0, view.height - 1)
    columns = np.clip(np.arange(view.camera.width) + view.left, 0, view.width - 1)
    for points, index in zip(motion.points, motion.body.tolist(), strict=True):
        shown = planes.resized(planes.cut(body.planes(index), view.region), view.height, view.width)
        picture = planes.picture(shown)[rows][:, columns]
        at = slice(index, index + 1)
        own = track.pose[at]
        pose = HeadPose(own.rotation, view.shifted(own.translation[0])[None], own.torso)
        blur = float(track.blur[index]) * view.scale
        recorded = MotionTrack(track.landmarks[at], pose)
        yield picture, *faces.paste(picture, recorded, points, number=index, blur=blur)
