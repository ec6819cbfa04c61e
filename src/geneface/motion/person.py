"""A person's post-net at run time: closed-form alignment, then (if it was trained) the residual network. No torch.

Folder: `alignment.safetensors` and, if the network won the validation, `postnet.onnx`; `postnet.json` tells which.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.config import Config
from geneface.io.records import read_record
from geneface.io.session import open_session
from geneface.io.store import write_json
from geneface.motion.alignment import Alignment
from geneface.types import FloatArray, SpeechFeatures

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PERSON_FORMAT = 1


class PostNetRecord(Config):
    """`postnet.json`."""

    format: int = PERSON_FORMAT
    encoder: str
    """Speech encoder whose features the alignment uses."""
    network: bool
    """Whether `postnet.onnx` is used."""
    network_past_frames: int
    """Frames that the network looks back."""
    metrics: dict[str, float]
    """What cross-validation and inner validation said."""


class PostNetRuntime:
    """Moves generic displacement into the person's domain; a `motion.runtime.PersonMotion`."""

    def __init__(self, alignment: Alignment, session: InferenceSession | None, record: PostNetRecord) -> None:
        self.alignment, self.session, self.record = alignment, session, record

    @classmethod
    def load(cls, folder: Path) -> PostNetRuntime:
        """Load the folder that `adapt_to_person` wrote.

        Raises:
            InputError: a file is missing, damaged or of another version.
        """
        folder = Path(folder)
        record = read_record(PostNetRecord, folder / "postnet.json", PERSON_FORMAT)
        session = open_session(folder / "postnet.onnx") if record.network else None
        return cls(Alignment.load(folder / "alignment.safetensors"), session, record)

    @property
    def past_frames(self) -> int:
        return self.alignment.past_frames + self.record.network_past_frames

    @property
    def future_frames(self) -> int:
        return self.alignment.future_frames

    def apply(self, displacement: FloatArray, features: SpeechFeatures | None = None) -> FloatArray:
        """[F, K, 3] generic, features [2F, D] -> [F, K, 3] displacement from the person's neutral, head units."""
        coefficients = self.alignment.coefficients(displacement, features)
        if self.session is not None and len(coefficients):
            out = self.session.run(["corrected"], {"aligned": np.ascontiguousarray(coefficients.T[None])})[0]
            coefficients = np.asarray(out, np.float32)[0].T
        return self.alignment.displacement(coefficients)


def save_person(alignment: Alignment, record: PostNetRecord, folder: Path) -> None:
    """Write all but the network's graph."""
    alignment.save(folder / "alignment.safetensors")
    write_json(folder / "postnet.json", record.model_dump(mode="json"))
