from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.io.assets import asset_path
from geneface.io.video import write_video
from geneface.serve.avatars import AvatarStore
from geneface.types import Waveform

from ...apps.talking_face import opening_curve, talking_frames, talking_sound
from ..jobs.test_import import ATTACKS
from ..jobs_server import Client, jobs_server, refused, tone

CONSENT = "the picture is NASA's, in the public domain"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with jobs_server(tmp_path_factory.mktemp("home")) as client:
        yield client


@pytest.fixture(scope="module")
def exported(client: Client) -> bytes:
    answer = client.get("/v1/avatars/grid-s1/export")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="grid-s1.zip"'
    return answer.content


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Six seconds of a face that talks."""
    path = tmp_path_factory.mktemp("video") / "talk.mp4"
    opening = opening_curve(150)
    write_video(path, iter(talking_frames(opening)), Waveform(talking_sound(opening)))
    return path.read_bytes()


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A video without a face."""
    path = tmp_path_factory.mktemp("video") / "hills.mp4"
    pictures = [np.full((96, 96, 3), (40, 90 + number, 60), np.uint8) for number in range(50)]
    write_video(path, iter(pictures), Waveform(np.zeros(32_000, np.float32)))
    return path.read_bytes()


def imported(client: Client, data: bytes) -> dict[str, Any]:
    answer = client.post("/v1/avatars/import", files={"avatar": ("mine.zip", data)})
    assert answer.status_code == 200, answer.text
    return client.until_ended(f"/v1/avatars/{answer.json()['id']}")


def traces(client: Client, avatar: str) -> list[Path]:
    return [path for path in client.context.settings.home.rglob("*") if avatar in str(path)]


def test_the_bundled_one_is_there(client: Client) -> None:
    listed = client.get("/v1/avatars").json()
    shown = next(avatar for avatar in listed["data"] if avatar["id"] == "grid-s1")
    assert listed["object"] == "list" and shown["object"] == "avatar" and shown["status"] == "completed"
    assert not shown["is_own"] and shown["size"] == 256 and shown["licence"] == "CC BY 4.0" and shown["consent"]
    folder = asset_path("avatars", "grid-s1")
    assert shown["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    alone = client.get("/v1/avatars/grid-s1").json()
    assert alone["card"] == (folder / "README.md").read_text() and alone["facts"]
    poster = client.get(shown["poster"])
    assert poster.headers["content-type"] == "image/png" and poster.content == (folder / "poster.png").read_bytes()
    models = client.get("/v1/models").json()
    assert models["object"] == "list" and models["data"][0]["id"] == "grid-s1"
    assert client.get("/v1/models/grid-s1").json()["object"] == "model"


def test_an_exported_avatar_comes_in_again_and_goes_without_a_trace(client: Client, exported: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(exported)) as file:
        assert file.testzip() is None
        assert {"grid-s1/README.md", "grid-s1/config.json"} <= set(file.namelist())
    avatar = imported(client, exported)
    assert avatar["status"] == "completed" and avatar["is_own"] and avatar["name"] == "grid-s1"
    job = client.context.jobs.store.list(["import"], subject=avatar["id"])[0]
    assert avatar["created_at"] == int(job.created_at)
    assert avatar["id"] in [model["id"] for model in client.get("/v1/models").json()["data"]]
    spoken = client.video(model=avatar["id"])
    assert client.until_ended(f"/v1/videos/{spoken['id']}")["status"] == "completed"
    again = client.get(f"/v1/avatars/{avatar['id']}/export").content
    with zipfile.ZipFile(io.BytesIO(again)) as new, zipfile.ZipFile(io.BytesIO(exported)) as old:
        assert {name: new.read(name) for name in new.namelist()} == {name: old.read(name) for name in old.namelist()}
    shown, other = (client.post("/v1/live", json={"model": model}).json() for model in (avatar["id"], "grid-s1"))
    assert client.delete(f"/v1/avatars/{avatar['id']}").json()["deleted"]
    refused(client.get(f"/v1/live/{shown['id']}"), 404, "not_found")
    assert client.delete(f"/v1/live/{other['id']}").status_code == 204
    assert traces(client, avatar["id"]) == []
    refused(client.get(f"/v1/avatars/{avatar['id']}"), 404, "not_found")
    refused(client.get(f"/v1/videos/{spoken['id']}"), 404, "not_found")
    assert client.context.jobs.store.list(subject=avatar["id"]) == []


@pytest.mark.parametrize("attack", ["path upwards", "link", "bomb", "1e5 entries", "twice"])
def test_bad_zips_become_no_avatar(client: Client, attack: str) -> None:
    found = imported(client, ATTACKS[attack]())
    assert found["status"] == "failed" and found["error"]["code"] == "bad_input" and found["error"]["remedy"]
    assert str(client.context.settings.home) not in json.dumps(found)
    assert found["id"] not in [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert client.delete(f"/v1/avatars/{found['id']}").json()["deleted"]
    assert traces(client, found["id"]) == []


def test_what_is_no_zip_is_refused_at_once(client: Client) -> None:
    ways: list[dict[str, Any]] = [
        {"files": {"avatar": ("mine.zip", b"x" * 1000)}},
        {"json": {"upload": client.upload(b"PK")}},
    ]
    for given in ways:
        before = len(client.context.jobs.store.list())
        refused(client.post("/v1/avatars/import", **given), 422, "bad_input", "no zip")
        assert len(client.context.jobs.store.list()) == before


def spoil_model(files: dict[str, bytes]) -> None:
    files["grid-s1/model.safetensors"] = b"\xff" * 1000


def spoil_graph(files: dict[str, bytes]) -> None:
    files["grid-s1/motion/motion.onnx"] = b"\0" * 1000


def large_picture(files: dict[str, bytes]) -> None:
    header = bytearray(files["grid-s1/background.png"])
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    files["grid-s1/background.png"] = bytes(header)


def other_settings(files: dict[str, bytes]) -> None:
    files["grid-s1/config.json"] = b'{"format": 1, "name": "../../x"}'


def no_number(files: dict[str, bytes]) -> None:
    files["grid-s1/metrics.json"] = b'{"tables": NaN}'


def deep(files: dict[str, bytes]) -> None:
    files["grid-s1/metrics.json"] = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("spoil", [spoil_model, spoil_graph, large_picture, other_settings, no_number, deep])
def test_an_avatar_that_does_not_load_never_appears(
    client: Client, exported: bytes, spoil: Callable[[dict[str, bytes]], None]
) -> None:
    with zipfile.ZipFile(io.BytesIO(exported)) as file:
        files = {name: file.read(name) for name in file.namelist()}
    spoil(files)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    found = imported(client, out.getvalue())
    assert found["status"] == "failed" and found["error"]["code"] == "bad_input", found["error"]
    assert str(client.context.settings.home) not in json.dumps(found)
    assert found["id"] not in [model["id"] for model in client.get("/v1/models").json()["data"]]


def test_what_is_not_ours_is_not_deleted(client: Client) -> None:
    refused(client.delete("/v1/avatars/grid-s1"), 403, "not_deletable")
    assert client.get("/v1/avatars/grid-s1").status_code == 200
    for path in ("..", "av_" + "0" * 24, "%2e%2e%2fjobs", "jobs.sqlite3"):
        assert client.delete(f"/v1/avatars/{path}").status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "fields, status, word",
    [
        ({}, 422, "consent of the person"),
        ({"consent": " "}, 422, "consent of the person"),
        ({"consent": "x", "preset": "best"}, 422, "preset"),
        ({"consent": "x", "size": 300}, 422, "size"),
        ({"consent": "x", "body_seconds": 61}, 422, "body_seconds"),
        ({"consent": "x"}, 422, "no file"),
        ({"consent": "x", "upload": "../../x"}, 404, "no such upload"),
        ({"consent": "x", "path": "/etc/passwd"}, 422, "path"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(client: Client, fields: dict[str, Any], status: int, word: str) -> None:
    answer = client.post("/v1/avatars", json=fields)
    refused(answer, status, "not_found" if status == 404 else "bad_request", word)


def test_an_upload_that_is_not_complete_is_refused(client: Client) -> None:
    upload = client.post("/v1/uploads", json={"bytes": 10}).json()["id"]
    refused(client.post("/v1/avatars/check", json={"upload": upload}), 409, "upload_incomplete")


@pytest.mark.parametrize("data", [b"x" * 1000, tone()])
def test_what_is_no_video_of_anybody_is_refused_in_a_sentence(client: Client, data: bytes) -> None:
    upload = client.upload(data)
    for answer in (
        client.post("/v1/avatars/check", json={"upload": upload}),
        client.post("/v1/avatars", json={"upload": upload, "consent": "x"}),
    ):
        refused(answer, 422, "bad_input")
        assert "/jobs/" not in answer.text and "/tmp" not in answer.text


def test_a_check_says_why_a_video_cannot_be_used(client: Client, landscape: bytes) -> None:
    answer = client.post("/v1/avatars/check", files={"video": ("hills.mp4", landscape)})
    check = client.until_ended(f"/v1/avatars/check/{answer.json()['id']}")
    assert check["status"] == "completed" and check["is_usable"] is False and check["seconds"] == 2.0
    worst = [finding for finding in check["findings"] if finding["severity"] == "error"]
    assert worst and all(finding["cause"] for finding in worst)
    assert str(client.context.settings.home) not in json.dumps(check)
    made = client.post("/v1/avatars", json={"upload": check["upload"], "consent": "x"}).json()
    failed = client.until_ended(f"/v1/avatars/{made['id']}")
    assert failed["status"] == "failed" and worst[0]["cause"] in failed["error"]["message"]
    assert [step["status"] for step in failed["steps"]] == ["completed", "pending", "pending"]
    client.delete(f"/v1/avatars/{made['id']}")
    assert traces(client, made["id"]) == [] and traces(client, check["upload"]) == []
    refused(client.get(f"/v1/avatars/check/{check['id']}"), 404, "not_found")


def test_a_video_may_not_be_endless(tmp_path: Path, landscape: bytes) -> None:
    with jobs_server(tmp_path, most_video_seconds=1) as client:
        answer = client.post("/v1/avatars/check", files={"video": ("hills.mp4", landscape)})
        refused(answer, 422, "too_long")


@pytest.mark.slow
def test_a_video_becomes_an_avatar(client: Client, video: bytes) -> None:
    upload = client.upload(video, "../My face.mp4")
    check = client.post("/v1/avatars/check", json={"upload": upload}).json()
    check = client.until_ended(f"/v1/avatars/check/{check['id']}")
    assert check["is_usable"] and check["seconds"] == 6.0
    for finding in check["findings"]:
        assert finding["start"] is None or 0 <= finding["start"] <= finding["end"] <= 6.05
    sheet = client.get(check["preview"])
    assert sheet.headers["content-type"] == "image/jpeg" and sheet.content[:2] == b"\xff\xd8"
    wanted = {"upload": upload, "consent": CONSENT, "preset": "tiny", "size": 128, "body_seconds": 2, "licence": "CC0"}
    made = client.post("/v1/avatars", json=wanted).json()
    assert made["id"].startswith("av_") and made["name"] == "My face" and made["consent"] == CONSENT
    assert made["id"] in [avatar["id"] for avatar in client.get("/v1/avatars").json()["data"]]
    seen: list[dict[str, Any]] = []
    while (now := client.get(f"/v1/avatars/{made['id']}").json())["status"] in ("queued", "in_progress"):
        seen.append(now)
        time.sleep(0.2)
    assert now["status"] == "completed", now["error"]
    progress = [state["progress"] for state in seen]
    assert progress == sorted(progress) and len(set(progress)) > 10
    at_work = [state for state in seen if state["status"] == "in_progress" and state["steps"]]
    assert [step["name"] for step in at_work[0]["steps"]] == ["check", "prepare", "train"]
    assert at_work[-1]["preview"] and all(state["eta_seconds"] > 0 for state in at_work[:-1])
    assert {step["stage"] for state in at_work for step in state["steps"]} >= {"track the face", "renderer"}
    assert now["name"] == "My face" and now["has_body"] and now["licence"] == "CC0" and now["has_portrait"]
    assert now["card"].startswith("# Avatar My face") and CONSENT in now["card"] and now["summary"]["verdict"]
    poster = client.get(now["poster"])
    assert poster.status_code == 200 and client.get(now["preview"]).status_code == 200
    assert Avatar.load(client.context.settings.home / "avatars" / made["id"]).name == "My face"
    refused(client.get(f"/v1/uploads/{upload}"), 404, "not_found")

    refused(client.get(f"/v1/avatars/{made['id']}/report"), 404, "no_report")
    assert client.post(f"/v1/avatars/{made['id']}/report").json()["status"] in ("queued", "in_progress")
    report = client.until_ended(f"/v1/avatars/{made['id']}/report", 300)
    assert report["status"] == "completed" and report["has_truth"] and report["metrics"]["tables"]
    assert client.get(f"/v1/avatars/{made['id']}").json()["report_status"] == "completed"
    page = client.get(report["url"])
    assert page.headers["content-type"].startswith("text/html") and "<h1" in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy

    spoken = client.video(model=made["id"], size="source")
    assert client.until_ended(f"/v1/videos/{spoken['id']}")["status"] == "completed"
    client.delete(f"/v1/avatars/{made['id']}")
    assert traces(client, made["id"]) == [] and traces(client, spoken["id"]) == []
    left = {path.name for path in client.context.settings.home.rglob("*") if path.is_file()}
    assert not [name for name in left if not name.startswith("jobs.sqlite3") and "manifest" in name]


@pytest.mark.slow
def test_making_one_can_be_stopped_at_every_step_and_gone_on_with(client: Client, video: bytes) -> None:
    upload = client.upload(video)
    wanted = {"upload": upload, "consent": CONSENT, "preset": "tiny", "size": 64, "body_seconds": 1}
    avatar = client.post("/v1/avatars", json=wanted).json()["id"]
    path, end = f"/v1/avatars/{avatar}", time.monotonic() + 400
    for name in ("check", "prepare", "train"):
        while True:
            now = client.get(path).json()
            assert now["status"] in ("queued", "in_progress") and time.monotonic() < end, (name, now["error"])
            if any(step["name"] == name and step["progress"] > 0.05 for step in now["steps"]):
                break
            time.sleep(0.1)
        stopped = client.post(f"{path}/cancel").json()
        assert stopped["status"] == "cancelled"
        assert avatar not in [model["id"] for model in client.get("/v1/models").json()["data"]]
        if name != "train":
            assert client.post(f"{path}/retry").json()["status"] in ("queued", "in_progress")
            refused(client.post(f"{path}/retry"), 409, "nothing_to_retry")
    assert client.delete(path).json()["deleted"]
    assert traces(client, avatar) == [] and traces(client, upload) == []


def test_one_that_is_being_deleted_is_passed_over(tmp_path: Path) -> None:
    store = AvatarStore(tmp_path)
    (tmp_path / "avatars").mkdir()
    # As it looks between the listing and the look at each.
    (tmp_path / "avatars" / f"av_{'0' * 24}").symlink_to(tmp_path / "gone")
    assert [avatar.id for avatar in store.list()] == ["grid-s1"]
    folder = tmp_path / "avatars" / f"av_{'1' * 24}"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert [avatar.id for avatar in store.list()] == ["grid-s1", folder.name]
