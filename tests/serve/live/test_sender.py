from __future__ import annotations

import asyncio

from geneface.serve.live.packets import Kind, Packet
from geneface.serve.live.sender import BEHIND_SECONDS, STALLED_SECONDS, Outbox


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def sound(generation: int) -> Packet:
    return Packet(Kind.SOUND, b"s", generation)


async def _sent(outbox: Outbox) -> list[str | bytes]:
    found: list[str | bytes] = []

    async def send(content: str | bytes) -> None:
        found.append(content)

    outbox.close()
    await outbox.send_all(send)
    return found


def test_what_is_put_is_sent_in_order_and_told() -> None:
    async def main() -> None:
        outbox, told = Outbox(), []
        for name in ("a", "b", "c"):
            outbox.put(name, lambda name=name: told.append(name))
        assert await _sent(outbox) == ["a", "b", "c"]
        assert told == ["a", "b", "c"]

    asyncio.run(main())


def test_the_age_is_that_of_what_waits_longest_even_while_it_is_being_sent() -> None:
    async def main() -> None:
        clock = Clock()
        outbox, gate = Outbox(clock), asyncio.Event()

        async def send(content: str | bytes) -> None:
            await gate.wait()

        outbox.put("slow")
        task = asyncio.create_task(outbox.send_all(send))
        await asyncio.sleep(0)
        assert not outbox.is_behind
        clock.now += BEHIND_SECONDS + 0.01
        assert outbox.is_behind and not outbox.is_stalled
        clock.now += STALLED_SECONDS
        assert outbox.is_stalled
        gate.set()
        await asyncio.sleep(0.01)
        assert outbox.age == 0
        task.cancel()

    asyncio.run(main())


def test_after_an_interruption_older_sound_is_forgotten_and_pictures_are_not() -> None:
    async def main() -> None:
        outbox = Outbox()
        picture = Packet(Kind.PICTURE, b"p", 0)
        for content in (sound(0), picture, sound(1), "text"):
            outbox.put(content)
        outbox.drop_sound(before=1)
        assert await _sent(outbox) == [picture.to_bytes(), sound(1).to_bytes(), "text"]

    asyncio.run(main())
