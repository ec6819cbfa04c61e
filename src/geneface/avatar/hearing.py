"""What an avatar hears speech with: an encoder, the generic motion model of its features, the person's adaptation.

Live speech is heard with what waits for 172 ms of it. Recorded speech is heard with more, if the avatar has it: layers
that see six seconds at once, and a motion model of their own (docs/decisions.md, 2026-11-30).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.avatar.folder import MOTION_FOLDER, PERSON_FOLDER
from geneface.avatar.parts import adaptation_of, of_this_version
from geneface.errors import InputError
from geneface.motion.adaptation import Adaptation
from geneface.motion.runtime import RECORDED_FOLDER, MotionModel


@dataclass(frozen=True)
class Hearing:
    """Parts that belong together."""

    encoder: SpeechEncoder
    model: MotionModel
    adaptation: Adaptation | None
    """None: the generic motion."""


def check_adaptation(adaptation: Adaptation | None, model: MotionModel, folder: Path) -> None:
    """An adaptation must be of its motion model.

    Raises:
        InputError: it is not, in the avatar `folder`.
    """
    if adaptation is not None and not adaptation.hears(model.config.feature_width, model.hidden_width):
        raise InputError(
            f"the person's adaptation in {folder} is of another motion model",
            "train the avatar again or copy it again",
        )


def recorded_hearing(folder: Path, is_adapted: bool) -> Hearing | None:
    """What the avatar in a folder hears recorded speech with; None: the same as live speech.

    Args:
        is_adapted: to the person.

    Raises:
        InputError: parts are missing, damaged, or of another version.
    """
    motion, person = (folder / part / RECORDED_FOLDER for part in (MOTION_FOLDER, PERSON_FOLDER))
    if not (motion.exists() or person.exists()):
        return None
    model = of_this_version(folder, lambda: MotionModel.load(motion))
    adaptation = of_this_version(folder, lambda: adaptation_of(person)) if is_adapted else None
    if is_adapted and adaptation is None:
        raise InputError(f"the avatar {folder} lacks the folder {person.relative_to(folder)}", "copy it again")
    check_adaptation(adaptation, model, folder)
    return Hearing(load_encoder(model.config.encoder), model, adaptation)
