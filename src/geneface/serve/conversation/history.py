"""What was said in a conversation, for the model: bounded, and only what was really heard."""

from __future__ import annotations

from dataclasses import dataclass, field

Message = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}"""
_MOST_MESSAGES, _MOST_CHARACTERS = 40, 16_000
_DELAY_SECONDS = 0.2
"""From a sentence's sound to when it is heard: the motion models look so far ahead."""


class History:
    """The messages of both sides. Never two of one side in a row, which some models refuse."""

    def __init__(self, prompt: str = "") -> None:
        """`prompt`: what the model is told before all else."""
        self._prompt, self._said = prompt, list[Message]()

    def add(self, role: str, text: str) -> None:
        """Something was said; it joins the message before if that is of the same side."""
        text = text.strip()
        if not text:
            return
        if self._said and self._said[-1]["role"] == role:
            text = f"{self._said.pop()['content']} {text}"
        self._said.append({"role": role, "content": text})
        while len(self._said) > 1 and (len(self._said) > _MOST_MESSAGES or self._characters() > _MOST_CHARACTERS):
            self._said.pop(0)

    def messages(self) -> list[Message]:
        """For the model, beginning with the person's."""
        first = next((at for at, message in enumerate(self._said) if message["role"] == "user"), len(self._said))
        before: list[Message] = [{"role": "system", "content": self._prompt}] if self._prompt else []
        return [*before, *(dict(message) for message in self._said[first:])]

    def _characters(self) -> int:
        return sum(len(message["content"]) for message in self._said)


@dataclass
class Answer:
    """An answer that is being spoken. Times are seconds of the conversation's clock."""

    number: int
    utterance: str | None = None
    """Of the live session, once its first sound is there."""
    ends: float = 0.0
    """When the sound so far will have been heard."""
    _sentences: list[str] = field(default_factory=list)
    _times: list[tuple[float, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it so far."""
        return " ".join(self._sentences)

    def begin(self, sentence: str, now: float) -> None:
        """A sentence, whose sound follows."""
        begins = max(now + _DELAY_SECONDS, self.ends)
        self._sentences.append(sentence)
        self._times.append((begins, begins))
        self.ends = begins

    def lengthen(self, seconds: float) -> None:
        """So much sound more of the last sentence."""
        self.ends += seconds
        self._times[-1] = (self._times[-1][0], self.ends)

    def heard(self, now: float) -> str:
        """What of it has been heard: of the sentence under way so many words as its time has passed."""
        parts: list[str] = []
        for sentence, (begins, ends) in zip(self._sentences, self._times, strict=True):
            if now >= ends:
                parts.append(sentence)
            elif now > begins:
                words = sentence.split() if " " in sentence else list(sentence)
                spoken = words[: int(len(words) * (now - begins) / (ends - begins))]
                parts.append((" " if " " in sentence else "").join(spoken))
        return " ".join(part for part in parts if part)
