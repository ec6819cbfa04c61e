from __future__ import annotations

import pytest

from geneface.serve.live.packets import HEADER_BYTES, Kind, Packet


def test_the_header_is_what_the_documentation_says() -> None:
    packet = Packet(Kind.PICTURE, b"unit", generation=3, index=258, microseconds=-2, is_key=True)
    expected = bytes([1, 1, 0, 0, 3, 0, 0, 0, 2, 1, 0, 0, 254, 255, 255, 255, 255, 255, 255, 255]) + b"unit"
    assert packet.to_bytes() == expected
    assert HEADER_BYTES == 20


@pytest.mark.parametrize("kind", Kind)
def test_what_is_written_is_read(kind: Kind) -> None:
    packet = Packet(kind, b"\x00\x01" * 9, 2**32 - 1, 2**32 - 1, 2**40, is_key=kind is Kind.FRAGMENT)
    assert Packet.from_bytes(packet.to_bytes()) == packet


@pytest.mark.parametrize("message", [b"", bytes(19), bytes(20), b"\x63" + bytes(19)])
def test_damaged_ones_are_refused(message: bytes) -> None:
    with pytest.raises(ValueError):
        Packet.from_bytes(message)
