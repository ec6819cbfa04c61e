"""The folder of a person's adaptation: `adaptation.safetensors`, and `adaptation.json`, which says how it was found."""

from __future__ import annotations

from pathlib import Path

from geneface.config import Config
from geneface.io.records import read_record, write_json
from geneface.motion.adaptation import Adaptation

PERSON_FORMAT = 2
TENSORS_NAME, RECORD_NAME = "adaptation.safetensors", "adaptation.json"


class AdaptationRecord(Config):
    """`adaptation.json`."""

    format: int = PERSON_FORMAT
    encoder: str
    """Speech encoder whose features the adaptation takes."""
    seconds: float
    """Of the person's own speech that it was fitted to."""
    metrics: dict[str, float]
    """What cross-validation inside those seconds said."""


def save_person(adaptation: Adaptation, record: AdaptationRecord, folder: Path) -> None:
    """Write both files."""
    adaptation.save(folder / TENSORS_NAME)
    write_json(folder / RECORD_NAME, record.model_dump(mode="json"))


def load_person(folder: Path) -> Adaptation:
    """Read what `save_person` wrote.

    Raises:
        InputError: a file is missing, damaged or of another version.
    """
    read_record(AdaptationRecord, Path(folder) / RECORD_NAME, PERSON_FORMAT)
    return Adaptation.load(Path(folder) / TENSORS_NAME)
