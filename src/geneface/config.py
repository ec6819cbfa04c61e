"""Settings: one frozen class a stage, kept with the stage's code; an unknown key is an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Base of every stage's settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
