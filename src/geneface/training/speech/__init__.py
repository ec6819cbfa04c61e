"""The speech encoder: export of Whisper's first layers, and their distillation to a limited future (torch)."""
