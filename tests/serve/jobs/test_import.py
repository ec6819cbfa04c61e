"""Zips that are not what they seem: refused in a sentence, and nothing is left anywhere."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.serve.jobs import import_avatar
from geneface.serve.jobs.import_avatar import MOST_BYTES, unpack
from geneface.serve.routes.carried import zipped

CONFIG = b"{}"


def sound(folder: str = "") -> dict[str, bytes]:
    return {f"{folder}config.json": CONFIG, f"{folder}model.safetensors": b"m", f"{folder}motion/config.json": CONFIG}


def pack(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return out.getvalue()


def unpacked(data: bytes, tmp_path: Path) -> list[str]:
    (tmp_path / "a.zip").write_bytes(data)
    (tmp_path / "into").mkdir()
    unpack(tmp_path / "a.zip", tmp_path / "into")
    return sorted(
        path.relative_to(tmp_path / "into").as_posix() for path in (tmp_path / "into").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("folder", ["", "me/", "grid-s1/"])
def test_a_sound_one_is_unpacked_with_or_without_a_folder_around(tmp_path: Path, folder: str) -> None:
    assert unpacked(pack(sound(folder), zipfile.ZIP_DEFLATED), tmp_path) == sorted(sound())
    assert (tmp_path / "into" / "config.json").read_bytes() == CONFIG


def test_what_is_exported_comes_in_again(tmp_path: Path) -> None:
    folder = asset_path("avatars", "grid-s1")
    found = unpacked(b"".join(zipped(folder, "x")), tmp_path)
    assert found == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for name in found:
        assert (tmp_path / "into" / name).read_bytes() == (folder / name).read_bytes()


def link(name: str, target: str, kind: int = stat.S_IFLNK) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for known, data in sound().items():
            if known != name:
                file.writestr(known, data)
        entry = zipfile.ZipInfo(name)
        entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
        file.writestr(entry, target)
    return out.getvalue()


def twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("config.json", "model.safetensors", "config.json"):
            file.writestr(name, CONFIG)
    return out.getvalue()


def many(count: int) -> bytes:
    """A zip of so many empty files, by hand: zipfile would take a minute."""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 11, 0)
    central = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0)
    names = [f"x{number:010d}".encode() for number in range(count)]
    body = b"".join(local + name for name in names)
    listing = b"".join(central + name for name in names)
    shown = min(count, 0xFFFF)
    return body + listing + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, shown, shown, len(listing), len(body), 0)


def bomb(stated: int | None = None) -> bytes:
    """A configuration of 40 MB in some 40 kB; `stated`: of which it says that it is so large."""
    data = pack({**sound(), "config.json": b" " * (40 << 20)}, zipfile.ZIP_DEFLATED)
    if stated is None:
        return data
    size = struct.pack("<I", 40 << 20)
    assert data.count(size) == 2
    return data.replace(size, struct.pack("<I", stated))


def encrypted() -> bytes:
    data = bytearray(pack(sound()))
    data[data.index(b"PK\3\4") + 6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def zip64() -> bytes:
    """Its second list of contents, which readers prefer, is the true one."""
    data = many(50_000)
    end = data.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 50_000, 50_000, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 3, 3, 100, 0xFFFFFFFF, 0)
    return data[:end] + record + locator + last


def spoilt() -> bytes:
    data = bytearray(pack({**sound(), "model.safetensors": b"m" * 100}))
    data[data.index(b"m" * 100) + 50] ^= 1
    return bytes(data)


ATTACKS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "no zip": lambda: b"PK" + os.urandom(5000),
    "an end alone": lambda: b"PK\5\6" + b"\xff" * 18,
    "cut off": lambda: pack(sound())[:-30],
    "path upwards": lambda: pack({**sound(), "../evil": b"x"}),
    "path upwards in a folder": lambda: pack({f"me/{name}": data for name, data in {**sound(), "../../evil": b"x"}.items()}),
    "path upwards over a known name": lambda: pack({**sound(), "motion/../../config.json": b"x"}),
    "path from the root": lambda: pack({**sound(), "/etc/evil": b"x"}),
    "backslashes": lambda: pack({**sound(), "..\\evil": b"x"}),
    "drive": lambda: pack({**sound(), "C:/evil": b"x"}),
    "only upwards": lambda: pack({f"../{name}": data for name, data in sound().items()}),
    "another file": lambda: pack({**sound(), "evil.py": b"x"}),
    "a file in place of a folder": lambda: pack({**sound(), "motion": b"x"}),
    "other letters": lambda: pack({**sound(), "CONFIG.JSON": b"x"}),
    "link": lambda: link("model.safetensors", "/etc/passwd"),
    "linked folder": lambda: link("motion", "/tmp"),
    "pipe": lambda: link("poster.png", "", stat.S_IFIFO),
    "twice": twice,
    "no avatar": lambda: pack({"model.safetensors": b"x"}),
    "bomb": bomb,
    "bomb that lies": lambda: bomb(stated=100),
    "1e5 entries": lambda: many(100_000),
    "60 000 entries": lambda: many(60_000),
    "encrypted": encrypted,
    "spoilt": spoilt,
    "other packing": lambda: pack(sound(), zipfile.ZIP_LZMA),
    "zip in a zip": lambda: pack({"me.zip": pack(sound())}),
}  # fmt: skip


def test_a_list_of_contents_for_very_large_zips_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(zipfile.ZipFile(io.BytesIO(zip64())).infolist()) == 50_000, "it would be"
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("it was read"))
    with pytest.raises(InputError, match="larger than an avatar's"):
        unpacked(zip64(), tmp_path)


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(tmp_path: Path, attack: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert before == []
    with pytest.raises(InputError) as error:
        unpacked(ATTACKS[attack](), tmp_path)
    assert error.value.remedy and "\0" not in str(error.value) and len(str(error.value)) < 300
    outside = [path for path in tmp_path.rglob("*") if tmp_path / "into" not in (path, *path.parents)]
    assert outside == [tmp_path / "a.zip"]
    written = sum(path.stat().st_size for path in (tmp_path / "into").rglob("*") if path.is_file())
    assert written <= MOST_BYTES["config.json"] + (1 << 20)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_the_sum_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(import_avatar.MOST_BYTES, "model.safetensors", 1000)
    with pytest.raises(InputError, match="too large"):
        unpacked(pack({**sound(), "model.safetensors": b"x" * 1001}), tmp_path)


def test_a_bomb_of_deflated_data_is_measured_as_it_comes(tmp_path: Path) -> None:
    data = bomb(stated=100)
    assert len(data) < 60_000 and len(zlib.compress(b" " * (40 << 20))) < 60_000
    with pytest.raises(InputError):
        unpacked(data, tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "into").rglob("*") if path.is_file()) < 2 << 20
