"""The real-time core: sound in, frames with their own sound out, on one clock. It knows no transport."""

from geneface.io.live import SOUND_RATE_HZ
from geneface.realtime.clock import MONOTONIC, Clock
from geneface.realtime.item import FRAME_SECONDS, ITEM_SAMPLES, Event, Item
from geneface.realtime.scheduler import BusyError, Scheduler
from geneface.realtime.session import Session

__all__ = [
    "FRAME_SECONDS",
    "ITEM_SAMPLES",
    "MONOTONIC",
    "SOUND_RATE_HZ",
    "BusyError",
    "Clock",
    "Event",
    "Item",
    "Scheduler",
    "Session",
]
