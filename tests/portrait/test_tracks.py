"""Runs of tracked frames, held-out frames, names and sound, from arrays made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geneface.analysis.sync_offset import UNKNOWN, SoundOffset
from geneface.geometry.camera import project
from geneface.io.face_mesh import mean_face
from geneface.portrait.plan import Shot
from geneface.portrait.scan import SourceScan
from geneface.portrait.segments import plan_segments, segment_names
from geneface.portrait.tracks import TrackedSpan, bridge_gaps, heldout_starts, mouth_boxes, split_span, tracked_spans
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import Camera, Waveform

SCAN = SourceScan("/videos/a.mp4", 640, 480, 300, 25.0, False, 0, (), (), "")


def shot(start: int = 0, stop: int = 100, source: int = 0) -> Shot:
    return Shot(source, start, stop, (0, 0, 100, 100), ((start, 0, 0, 100, 100),), ((0, 0, 100, 100),))


def run(start: int = 0, stop: int = 100, source: int = 0) -> TrackedSpan:
    return TrackedSpan(0, source, start, np.zeros((stop - start, 478, 3), np.float32))


def meshes(frames: int) -> np.ndarray:
    face = project(mean_face(), np.zeros(3), np.array([0, 0, -4.5]), Camera(4.5, 256, 256))
    sway = np.sin(np.arange(frames) / 8)[:, None, None] * [3.0, 0]
    return np.concatenate([face + sway, np.zeros((frames, 478, 1))], axis=-1).astype(np.float32)


def test_short_gaps_are_bridged_by_a_straight_line():
    mesh = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 478, 3), np.float32)
    found = np.ones(10, bool)
    found[[3, 4, 5]] = False
    broken = np.where(found[:, None, None], mesh, -1).astype(np.float32)
    bridged, known = bridge_gaps(broken, found)
    np.testing.assert_allclose(bridged, mesh)
    assert known.all()


def test_a_lost_face_splits_the_shot_and_is_reported():
    found = np.ones(100, bool)
    found[40:50] = False
    runs, rest = tracked_spans(0, shot(200, 300), SCAN, meshes(100), found)
    assert [(run.start, run.frames) for run in runs] == [(200, 40), (250, 50)]
    assert [(span.start, span.stop, span.reason) for span in rest] == [(9.6, 10.0, "the face is lost")]


def test_a_jump_of_the_face_is_a_cut_that_the_picture_did_not_show():
    mesh = meshes(100)
    mesh[60:, :, 0] += 60
    runs, rest = tracked_spans(0, shot(), SCAN, mesh, np.ones(100, bool))
    assert [(run.start, run.frames) for run in runs] == [(0, 60), (60, 40)]
    assert rest == []


def test_short_runs_are_dropped():
    mesh = meshes(100)
    mesh[90:, :, 0] += 60
    runs, rest = tracked_spans(0, shot(), SCAN, mesh, np.ones(100, bool))
    assert len(runs) == 1 and "less than 1 s" in rest[0].reason


def test_what_a_judge_drops_is_left_out_for_its_reason():
    reasons = np.full(100, "", object)
    reasons[40:60], reasons[60:65] = "it is too dark", "the mouth is covered"
    runs, rest = tracked_spans(0, shot(), SCAN, meshes(100), np.ones(100, bool), reasons)
    assert [(run.start, run.frames) for run in runs] == [(0, 40), (65, 35)]
    assert [(s.start, s.stop, s.reason) for s in rest] == [
        (1.6, 2.4, "it is too dark"),
        (2.4, 2.6, "the mouth is covered"),
    ]


def test_a_run_is_split_where_frames_are_not_kept():
    kept = np.ones(100, bool)
    kept[30:40] = kept[60] = False
    runs, rest = split_span(run(200, 300), kept, SCAN, "outside")
    assert [(r.start, r.frames) for r in runs] == [(200, 30), (261, 39)]
    assert sum(s.stop - s.start for s in rest) == pytest.approx(31 / 25)


def test_every_tenth_of_many_clips_is_held_out_whole():
    starts = heldout_starts([run(source=index) for index in range(23)], 23)
    assert [index for index, start in enumerate(starts) if start == 0] == [9, 19]
    assert all(start > 1000 for index, start in enumerate(starts) if index not in (9, 19))


@pytest.mark.parametrize(
    "lengths",
    [
        [75] * 9 + [900] + [75] * 3,
        [75] * 10 + [3000],
        [3000] + [75] * 10,
        [50, 400, 30, 600, 80, 90, 500, 45, 70, 30, 600, 33],
        list(range(30, 1000, 37)),
        [30] * 9 + [0] + [30] * 12,
    ],
)
def test_of_clips_of_different_lengths_about_a_tenth_of_the_time_is_held_out(lengths: list[int]):
    runs = [run(10, 10 + length, index) for index, length in enumerate(lengths) if length]
    starts = heldout_starts(runs, len(lengths))
    held = [max(0, 10 + length - max(start, 10)) for length, start in zip(lengths, starts, strict=True)]
    assert 0.05 * sum(lengths) <= sum(held) <= 0.15 * sum(lengths)
    assert sum(count == 0 for count in held) >= len(lengths) // 2


def test_the_end_of_each_of_few_videos_is_held_out_at_most_a_minute():
    runs = [run(0, 500), run(0, 20_000, source=1), run(0, 60, source=2), run(100, 140, source=2)]
    assert heldout_starts(runs, 3) == [400, 18_500, 120]


def test_names_are_unique_and_safe():
    assert segment_names(["/x/a b.mp4", "/y/c.mp4"], [0, 1, 1]) == ["a_b", "c_00", "c_01"]
    names = segment_names(["/x/a.mp4", "/y/a.mp4", "/z/../..mp4"], [0, 1, 2])
    assert len(set(names)) == 3 and all("/" not in name and not name.startswith(".") for name in names)


@pytest.mark.parametrize(
    ("late", "first", "count"), [(0, 0, 100), (6, 0, 94), (-6, 6, 94), (2.6, 0, 97), (-2.4, 2, 98)]
)
def test_pictures_whose_sound_is_missing_are_left_out(late: float, first: int, count: int):
    tracked = TrackedSpan(0, 0, 0, meshes(100))
    sound = Waveform(np.zeros(100 * SAMPLES_PER_FRAME, np.float32))
    offset = SoundOffset(late, 0.0, 0.98, late, 9.0, 5.0)
    segments, rest = plan_segments([SCAN], [tracked], [sound], [offset])
    assert [(s.span.start, s.span.frames, s.sound_shift) for s in segments] == [(first, count, late)]
    # 80 % of the pictures, whatever the sound takes away.
    assert segments[0].heldout == (80 - first, count)
    assert segments[0].heldout_flags.sum() == first + count - 80
    assert len(rest) == (late != 0)


def test_each_run_has_the_offset_that_was_found_for_it():
    runs = [run(0, 100), run(150, 300)]
    sound = Waveform(np.zeros(320 * SAMPLES_PER_FRAME, np.float32))
    drifting = SoundOffset(1.0, 10_000.0, 1.0, 1.0, 9.0, 5.0)
    segments, _ = plan_segments([SCAN], runs, [sound], [UNKNOWN, drifting])
    assert [(s.sound_shift, s.sound_drift_ppm) for s in segments] == [(0, 0), (pytest.approx(2.5), 10_000)]


def test_a_shot_with_an_offset_of_its_own_hears_no_sound_of_its_neighbours():
    runs = [run(0, 100), run(100, 200), run(200, 300)]
    sound = Waveform(np.zeros(300 * SAMPLES_PER_FRAME, np.float32))
    late, early = (SoundOffset(frames, 0.0, 1.0, frames, 9.0, 5.0) for frames in (8.0, -5.0))
    segments, rest = plan_segments([SCAN], runs, [sound], [late, early, early])
    assert [(s.span.start, s.span.frames) for s in segments] == [(0, 92), (105, 95), (200, 100)]
    assert sum(span.stop - span.start for span in rest) == pytest.approx(13 / 25)
    # One offset: the sound goes on over the cut.
    alike, _ = plan_segments([SCAN], runs, [sound], [late, late, late])
    assert [s.span.frames for s in alike] == [100, 100, 92]


def test_mouth_boxes_hold_the_lips_and_stay_in_the_picture():
    mesh = meshes(3)
    box = mouth_boxes(mesh, 256)
    for index in (61, 291, 0, 17):
        assert (mesh[:, index, :2] > box[:, :2]).all() and (mesh[:, index, :2] < box[:, 2:]).all()
    mesh[..., 0] += 120
    assert mouth_boxes(mesh, 256).max() <= 256


def test_of_many_clips_only_those_that_are_used_count():
    """Ten clips of which few are used are few videos: a fifth of each, or one of five and more short ones."""

    def clips(count: int, frames: int) -> list[TrackedSpan]:
        mesh = np.zeros((frames, 478, 3), np.float32)
        return [TrackedSpan(shot=i, source=i, start=0, mesh_px=mesh) for i in range(2, 2 + count)]

    assert heldout_starts(clips(4, 75), 10)[2:6] == [60] * 4
    starts = heldout_starts(clips(6, 75), 10)
    assert starts[6] == 0 and all(start > 1000 for index, start in enumerate(starts) if index != 6)
    assert heldout_starts(clips(6, 250), 10)[2:8] == [200] * 6


def test_each_scene_of_a_file_has_its_own_frames_held_out():
    runs = [replace(run(start, start + 100), scene=1 + index % 2) for index, start in enumerate(range(0, 400, 100))]
    runs[3] = replace(runs[3], mesh_px=runs[3].mesh_px[:80])
    sound = Waveform(np.zeros(16_000 * 16, np.float32))
    segments, _ = plan_segments([SCAN], runs, [sound], [UNKNOWN] * 4)
    assert [segment.span.scene for segment in segments] == [1, 2, 1, 2]
    # A fifth of 200 frames and of 180, from the end of each scene.
    assert [segment.heldout for segment in segments] == [None, None, (60, 100), (44, 80)]
    # The one with more frames is scene 1, whichever comes first.
    runs = [replace(one, scene=3 - one.scene) for one in runs]
    segments, _ = plan_segments([SCAN], runs, [sound], [UNKNOWN] * 4)
    assert [segment.span.scene for segment in segments] == [1, 2, 1, 2]
