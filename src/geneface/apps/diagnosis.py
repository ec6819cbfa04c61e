"""What `geneface doctor` finds out: machine, kernels, codecs, versions, extras, bundled files, expected speed."""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from geneface import __version__, ops
from geneface.avatar.folder import bundled_avatars
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.workers import usable_cores

_CORE = ("numpy", "onnxruntime", "av", "soundfile", "soxr", "typer", "rich", "pydantic", "safetensors")
NOT_INSTALLED = "not installed"
_EXTRAS = {
    "train": ("torch", "onnx"),
    "hubert": ("transformers", "torch"),
    "metrics": ("skimage",),
}
"""Modules that each extra brings."""
_CODECS = ("libx264", "aac", "libvpx-vp9", "libopus", "png")
_TRIAL_FRAMES, _WARM_FRAMES = 20, 4


def diagnose() -> dict[str, dict[str, Any]]:
    """Sections of named facts; `problems` is empty where everything needed for rendering is in place."""
    problems: dict[str, str] = {}
    facts = {
        "machine": _machine(),
        "kernels": _kernels(problems),
        "codecs": _codecs(problems),
        "versions": {"geneface": __version__, "python": platform.python_version()}
        | {name: _version(name) for name in _CORE},
        "extras": {
            extra: "installed" if all(importlib.util.find_spec(name) for name in names) else NOT_INSTALLED
            for extra, names in _EXTRAS.items()
        },
        "bundled": _bundled(problems),
    }
    facts["expected_frames_per_second"] = {} if problems else _speed()
    facts["problems"] = problems
    return facts


def _machine() -> dict[str, Any]:
    facts: dict[str, Any] = {"system": platform.platform(), "processor": _processor(), "cores": usable_cores()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    if hasattr(os, "getloadavg"):
        facts["load_average_1_minute"] = round(os.getloadavg()[0], 2)
    return facts


def _processor(description: Path = Path("/proc/cpuinfo")) -> str:
    """Its kind, with the model's name where Linux knows it."""
    kind = platform.machine()
    try:
        lines = description.read_text(errors="replace").splitlines()
    except OSError:
        return kind
    models = [
        value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == "model name"
    ]
    return f"{kind}, {models[0]}" if models and models[0] else kind


def _kernels(problems: dict[str, str]) -> dict[str, Any]:
    try:
        sets = ops.available_instruction_sets()
        return {"in_use": ops.instruction_set(), "available": ", ".join(sets), "threads": ops.threads()}
    except ImportError as error:
        problems["kernels"] = str(error)
        return {"in_use": "none"}


def _codecs(problems: dict[str, str]) -> dict[str, str]:
    import av

    found = {name: "yes" if name in av.codecs_available else "no" for name in _CODECS}
    for name in ("libx264", "aac"):
        if found[name] == "no":
            problems[name] = "this build of PyAV can't write MP4: pip install --force-reinstall av"
    return found


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _bundled(problems: dict[str, str]) -> dict[str, str]:
    found = {"avatars": ", ".join(bundled_avatars()) or "none"}
    for name, parts in {
        "motion": ("motion", "motion.onnx"),
        "speech": ("speech", "whisper_base_4.onnx"),
        "tracker": ("tracker", "mesh.onnx"),
    }.items():
        try:
            found[name] = f"{asset_path(*parts).stat().st_size / 1e6:.1f} MB"
        except InputError as error:
            found[name], problems[name] = "missing", str(error)
    return found


def _speed() -> dict[str, Any]:
    """Frames a second of the renderer alone with a bundled avatar, on this machine as loaded as it is."""
    from geneface.avatar.avatar import Avatar

    names = bundled_avatars()
    if not names:
        return {"none": "there is no bundled avatar to try"}
    avatar, speeds = Avatar.load(names[0]), {}
    track = avatar.files.person.at_rest()
    rows = np.arange(_WARM_FRAMES + _TRIAL_FRAMES) % len(track)
    for size in (256, 512):
        for number, _ in enumerate(avatar.draw(track[rows], size=size), start=1):
            if number == _WARM_FRAMES:
                started = time.perf_counter()
        speeds[f"{size}_px"] = round(_TRIAL_FRAMES / (time.perf_counter() - started), 1)
    return speeds
