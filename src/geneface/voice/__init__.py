"""Text to speech: the protocol, one file for each engine, and sentences of a text that still grows."""
