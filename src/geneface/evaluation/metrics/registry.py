"""What every key of metrics.json means. docs/metrics.md says more: range, what moves it, what it can't see.

Image metrics exist for three regions: `frame_` the whole frame, `head_` the head mask (face, hair, ears; alpha > 127),
`mouth_` the box around the lips. All are taken per frame and averaged over frames unless the description says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from geneface.evaluation.schema import Control, MetricDefinition, MetricTable

REGIONS = ("frame", "head", "mouth")
IMAGE_METRICS = (
    "psnr",
    "ssim",
    "lpips",
    "niqe",
    "fid",
    "sharpness_ratio",
    "ciede2000",
    "luminance_shift",
)
FOUND_KEY = "face_found_share"
LIP_KEYS = (
    "lip_landmark_distance",
    "lip_landmark_distance_px",
    "opening_correlation",
    "width_correlation",
    "opening_amplitude_ratio",
    "offset_frames",
    "fast_offset_frames",
    "closure_rate",
    "closure_count",
    "false_closure_rate",
    "silence_motion_ratio",
)
JUDGE_KEYS = ("judge_confidence", "judge_distance", "judge_distance_unshifted", "judge_offset_frames")
LSE_KEYS = ("lse_c", "lse_d")
JITTER_RATIO_KEYS = ("brow_jitter_ratio", "rotation_jitter_ratio", "translation_jitter_ratio")
JITTER_KEYS = ("brow_jitter", "rotation_jitter", "translation_jitter")
BLINK_KEYS = ("blink_lower_face_psnr", "blink_lower_face_psnr_worst")
SPECKLE_MEASURES = ("speckle", "face_dots", "head_dots", "torso_dots")
DRIVEN_RATIO_KEYS = tuple(f"{key}_ratio{part}" for key in SPECKLE_MEASURES for part in ("", "_worst_second"))
"""Against the ground truth."""
DRIVEN_RISE_KEYS = tuple(f"{key}_rise{part}" for key in SPECKLE_MEASURES for part in ("", "_worst_second"))
"""Against the avatar's own calm speech."""
RARE_KEYS = ("rare_frames", "head_psnr", "mouth_psnr", "eyes_psnr")

_ALL: tuple[Control, ...] = ("late", "still", "degraded")
_TIMING: tuple[Control, ...] = ("late", "still")
_BAND = "root mean square of the second differences over time in the band from 4 Hz to 12.5 Hz"


def image_key(region: str, metric: str) -> str:
    """`head_psnr` and the like."""
    return f"{region}_{metric}"


def _define(
    title: str, unit: str, direction: str, description: str, must_see: tuple[Control, ...] = ()
) -> MetricDefinition:
    return MetricDefinition.model_validate(
        {
            "title": title,
            "unit": unit,
            "direction": direction,
            "description": description,
            "must_see": list(must_see),
        }
    )


_IMAGE = {
    "psnr": _define(
        "PSNR",
        "dB",
        "higher",
        "10 log10(255^2 / MSE) over the region's RGB values in the 8-bit range; identical pixels count as 100 dB.",
        _ALL,
    ),
    "ssim": _define(
        "SSIM",
        "1",
        "higher",
        "Wang et al. 2004 on BT.601 luma: Gaussian window 11 x 11, sigma 1.5, K1 = .01, K2 = .03; mean of the map over "
        "those pixels of the region whose window lies inside the frame.",
        _ALL,
    ),
    "lpips": _define(
        "LPIPS",
        "1",
        "lower",
        "Zhang et al. 2018, AlexNet v0.1. Whole frame: the standard distance; head and mouth: mean of the spatial map.",
        _ALL,
    ),
    "niqe": _define(
        "NIQE",
        "1",
        "lower",
        "Mittal et al. 2013 with the authors' pristine model: distance of natural-scene statistics, no reference. "
        "Needs regions of 192 px and more.",
        ("degraded",),
    ),
    "fid": _define(
        "FID",
        "1",
        "lower",
        "Heusel et al. 2017 on Inception-v3 pool3 features of the region's box, resized as in Parmar et al. 2022; "
        "biased upwards for few frames, so comparable at equal numbers of frames only.",
        ("still", "degraded"),
    ),
    "sharpness_ratio": _define(
        "Sharpness",
        "ratio",
        "one",
        "Variance of the luma's Laplacian over the region (the head mask less a border of 2 px), summed over frames: "
        "evaluated / ground truth. Noise raises it as detail does.",
        ("degraded",),
    ),
    "ciede2000": _define(
        "Colour difference",
        "CIEDE2000",
        "lower",
        "Mean CIEDE2000 of the region's pixels (Sharma et al. 2005), sRGB under D65.",
        _ALL,
    ),
    "luminance_shift": _define(
        "Luminance shift",
        "levels of 255",
        "zero",
        "Mean BT.601 luma, evaluated - ground truth: the 'whitening' of a shifted appearance code.",
        ("degraded",),
    ),
}

DEFINITIONS: dict[str, MetricDefinition] = {
    image_key(region, metric): definition.model_copy(update={"title": f"{definition.title}, {region}"})
    for region in REGIONS
    for metric, definition in _IMAGE.items()
}
DEFINITIONS |= {
    FOUND_KEY: _define(
        "Face found",
        "share",
        "higher",
        "Share of the frames in which the tracker found a face; runs with less than half are left out of the row's "
        "lips, sync and jitter.",
    ),
    "lip_landmark_distance": _define(
        "Lip landmark distance",
        "face widths",
        "lower",
        "LMD (Chen et al. 2018): mean distance of the lip landmarks after the centres of the mouths are laid on each "
        "other, as a fraction of the face's width.",
        _TIMING,
    ),
    "lip_landmark_distance_px": _define(
        "Lip landmark distance",
        "px",
        "lower",
        "The same in pixels of the frame.",
        _TIMING,
    ),
    "opening_correlation": _define(
        "Lip-opening correlation",
        "1",
        "higher",
        "Pearson correlation of the distance between the inner lips over time, per clip, then averaged.",
        _TIMING,
    ),
    "width_correlation": _define(
        "Lip-width correlation",
        "1",
        "higher",
        "The same for the distance between the corners of the mouth.",
        _TIMING,
    ),
    "opening_amplitude_ratio": _define(
        "Opening amplitude",
        "ratio",
        "one",
        "Standard deviation of the lip opening, evaluated / ground truth, per clip, then averaged.",
        ("still",),
    ),
    "offset_frames": _define(
        "Audio-video offset",
        "frames of 40 ms",
        "zero",
        "Delay at which the correlation of the lip opening, averaged over clips, is largest, from -15 to 15; "
        "positive: the evaluated lips are late.",
        _TIMING,
    ),
    "fast_offset_frames": _define(
        "Lag on fast articulation",
        "frames of 40 ms",
        "zero",
        "The same, from -6 to 6, over the quarter of all frames in which the ground truth's opening changes fastest: a "
        "parabola through the peak, less that of the ground truth with itself; positive: late. Our definition.",
        _TIMING,
    ),
    "closure_rate": _define(
        "Closures hit",
        "share",
        "higher",
        "Share of the ground truth's lip closures inside which the evaluated lips close, without being closed from 6 "
        "frames before to 6 after. Word times known: closures within a frame of the start of words spelled with an "
        "initial b, p or m (not ph, ps, pn, pt, mn; of the letter m: its end), only those that the ground truth shows; "
        "else all closed runs of at most 7 frames between open lips. Closed: below 15 % of the way from the 5th to the "
        "95th percentile of the ground truth's opening; a closure of the ground truth goes below 10 %. Our definition.",
        _TIMING,
    ),
    "closure_count": _define(
        "Closures counted",
        "closures",
        "count",
        "How many closures of the ground truth the share of closures hit is over; below ten it is a matter of chance.",
    ),
    "false_closure_rate": _define(
        "False closures",
        "share",
        "lower",
        "Share of the ground truth's clearly open frames (above 35 % of that way, not within two frames of a closed "
        "one) in which the evaluated lips are closed. A mouth that never closes scores 0: read it with the closures "
        "hit.",
    ),
    "silence_motion_ratio": _define(
        "Motion in silence",
        "ratio",
        "lower",
        "Root mean square speed of the lip landmarks, mouth centres aligned, in silence (word times, else the sound's "
        "level), 8 frames before and 2 after speech left out: evaluated / ground truth. In video most of it is the "
        "tracker's noise: above 1 is twitching, below 1 says little; a still face scores 0. Our definition.",
    ),
    "lse_c": _define(
        "LSE-C",
        "1",
        "higher",
        "Lip-sync error, confidence, of SyncNet v2 (Chung and Zisserman 2016; Prajwal et al. 2020): median minus "
        "minimum over lags of the mean distance of mouth and sound. Faces are cropped by FaceMesh instead of S3FD.",
        ("still",),
    ),
    "lse_d": _define(
        "LSE-D",
        "1",
        "lower",
        "Lip-sync error, distance, of SyncNet v2: the minimum over lags of the mean distance of mouth and sound.",
        ("still",),
    ),
    "judge_confidence": _define(
        "Judge's confidence",
        "1",
        "higher",
        "Of our own sync expert on landmarks, which no training used as a loss: median minus minimum over lags of "
        "the mean distance of lips and sound. Not comparable with LSE-C.",
        ("still",),
    ),
    "judge_distance": _define(
        "Judge's distance",
        "1",
        "lower",
        "Of the same: the minimum over lags of the mean distance. Not comparable with LSE-D.",
        ("still",),
    ),
    "judge_distance_unshifted": _define(
        "Judge's distance at lag 0",
        "1",
        "lower",
        "Of the same: the mean distance as lips and sound are, without looking for a better lag.",
        _TIMING,
    ),
    "judge_offset_frames": _define(
        "Judge's offset",
        "frames of 40 ms",
        "zero",
        "Of the same: the lag at which the distance is least; positive: late.",
        ("late",),
    ),
    "brow_jitter_ratio": _define(
        "Brow jitter",
        "ratio",
        "lower",
        f"{_BAND[0].upper()}{_BAND[1:]} of the brow landmarks in the head frame, evaluated / ground truth. The "
        "tracker's own noise is part of the ground truth's; a still face scores 0.",
    ),
    "rotation_jitter_ratio": _define(
        "Head rotation jitter", "ratio", "lower", "The same for the head's rotation vector."
    ),
    "translation_jitter_ratio": _define(
        "Head translation jitter", "ratio", "lower", "The same for the head's position."
    ),
    "torso_flicker_ratio": _define(
        "Torso flicker",
        "ratio",
        "lower",
        f"{_BAND[0].upper()}{_BAND[1:]} of the luma of pixels that show the torso throughout a clip, evaluated / "
        "ground truth. The camera's noise is part of the ground truth's.",
    ),
    "temporal_difference_error": _define(
        "Temporal difference error",
        "levels of 255",
        "lower",
        "Mean |(R[t+1] - R[t]) - (O[t+1] - O[t])| over RGB and pixels: what flickers, or moves differently.",
        _TIMING,
    ),
    "brow_jitter": _define(
        "Brow jitter", "head units / frame^2", "lower", f"{_BAND[0].upper()}{_BAND[1:]} of the brow landmarks."
    ),
    "rotation_jitter": _define(
        "Head rotation jitter", "degrees / frame^2", "lower", "The same for the head's rotation vector."
    ),
    "translation_jitter": _define(
        "Head translation jitter", "head units / frame^2", "lower", "The same for the head's position."
    ),
    "render_rate": _define(
        "Rendering",
        "frames/s",
        "higher",
        "Frames a second through the renderer alone, the first frames left out; no motion, no encoding. The machine's "
        "load while measuring stands under `machine`.",
    ),
}

DEFINITIONS |= {
    "blink_lower_face_psnr": _define(
        "Lower face under a blink",
        "dB",
        "higher",
        "The same sentence, seed and pose with and without blinks: PSNR of the pixels inside the jaw line, over all "
        "frames in which the lids have gone 60 % and more of the way of the deepest blink. A blink must not touch "
        "them: 50 dB can't be seen, identical pixels count as 99 dB. Our definition.",
    ),
    "blink_lower_face_psnr_worst": _define(
        "Lower face under a blink, worst frame", "dB", "higher", "The same of the frame in which the face moves most."
    ),
    "rare_frames": _define("Frames", "frames", "count", "How many held-out frames the row is over."),
    "eyes_psnr": _define(
        "PSNR, eyes",
        "dB",
        "higher",
        "PSNR over a box around both eyes with a margin of half an eye; identical pixels count as 100 dB.",
    ),
}

_SPECKLE_OF = {
    "speckle": (
        "Speckle, head",
        "Mean distance of the luma from its 3 x 3 median over the head and a rim of 3 px (at 256 px). Hair and teeth "
        "have it too",
    ),
    "face_dots": (
        "Dots, face",
        "Mean over the face of how far a pixel's luma lies above or below all 16 pixels of the square two pixels away "
        "(at 256 px): a bead or a hole stands alone, a hair, a lip or an edge goes on. Our definition",
    ),
    "head_dots": ("Dots, head", "The same over the head and a rim of 3 px"),
    "torso_dots": ("Dots, torso", "The same over the torso"),
}
_SPECKLE_OVER = {
    "ratio": "divided by the median over ground-truth frames.",
    "rise": "divided by the median over the avatar's own speech with open eyes: it sees what breaks, not what is "
    "always so.",
}


def _speckle_definitions() -> dict[str, MetricDefinition]:
    """Every measure against the ground truth and against the avatar itself, as a mean and of the worst second."""
    definitions = {}
    for measure, (title, text) in _SPECKLE_OF.items():
        for over, divided in _SPECKLE_OVER.items():
            sees: tuple[Control, ...] = ("beads",) if over == "ratio" else ()
            key = f"{measure}_{over}"
            definitions[key] = _define(title, "ratio", "one", f"{text}; {divided}", sees)
            definitions[f"{key}_worst_second"] = _define(
                f"{title}, worst second",
                "ratio",
                "one",
                f"{text}; {divided} The largest mean over 25 consecutive frames.",
                sees,
            )
    return definitions


DEFINITIONS |= _speckle_definitions()


def used_definitions(tables: Mapping[str, MetricTable]) -> dict[str, MetricDefinition]:
    """The definitions of the keys that appear in the tables."""
    used = {key for table in tables.values() for row in table.rows for key in row.figures}
    return {key: definition for key, definition in DEFINITIONS.items() if key in used}


def image_keys(regions: Iterable[str] = REGIONS) -> tuple[str, ...]:
    """All image keys of the regions."""
    return tuple(image_key(region, metric) for region in regions for metric in IMAGE_METRICS)
