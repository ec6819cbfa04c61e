from __future__ import annotations

import asyncio
import base64
import io
import json
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import openai
import pytest

from geneface.io.image import write_png
from geneface.io.tensors import load_tensors
from geneface.serve.jobs.job import new_id
from geneface.serve.jobs.store import JobStore

from ..jobs_server import Client, jobs_server, refused, tone

SMALL: Any = "64x64"
"""The official library knows the sizes of one provider only, but sends any."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with jobs_server(tmp_path_factory.mktemp("home")) as client:
        yield client


def pictures(data: bytes) -> list[np.ndarray]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def png(tmp_path: Path, colour: tuple[int, int, int]) -> bytes:
    path = tmp_path / "colour.png"
    write_png(path, np.full((40, 40, 3), colour, np.uint8))
    return path.read_bytes()


def content(client: Client, video: dict[str, Any]) -> bytes:
    done = client.until_ended(f"/v1/videos/{video['id']}")
    assert done["status"] == "completed", done
    answer = client.get(f"/v1/videos/{video['id']}/content")
    assert answer.status_code == 200 and len(answer.content) == done["bytes"]
    return answer.content


def test_sound_becomes_a_video(client: Client) -> None:
    video = client.video(size="64x64", seed="3")
    assert video["object"] == "video" and video["status"] in ("queued", "in_progress") and video["model"] == "grid-s1"
    done = client.until_ended(f"/v1/videos/{video['id']}")
    assert done["status"] == "completed" and done["progress"] == 100 and done["error"] is None
    assert done["seconds"] == "0.4" and done["size"] == "64x64"
    assert done["created_at"] <= done["completed_at"] < done["expires_at"]
    assert [(step["name"], step["status"]) for step in done["steps"]] == [("render", "completed")]
    answer = client.get(f"/v1/videos/{video['id']}/content")
    assert answer.headers["content-type"] == "video/mp4"
    frames = pictures(answer.content)
    assert len(frames) == 10 and frames[0].shape == (64, 64, 3) and frames[0].std() > 10
    assert client.until_ended(f"/v1/videos/{client.video(size='auto')['id']}")["size"] == "256x256"
    with av.open(io.BytesIO(answer.content)) as container:
        assert len(container.streams.audio) == 1
    part = client.get(f"/v1/videos/{video['id']}/content", headers={"Range": "bytes=4-7"})
    assert part.status_code == 206 and part.content == answer.content[4:8] == b"ftyp"
    saved = client.get(f"/v1/videos/{video['id']}/content?download=1")
    assert saved.headers["content-disposition"] == f'attachment; filename="{video["id"]}.mp4"'


def test_deletion_leaves_nothing(client: Client) -> None:
    video = client.video()
    client.until_ended(f"/v1/videos/{video['id']}")
    home = client.context.settings.home
    assert [path for path in home.rglob("*") if video["id"] in str(path)]
    answer = client.delete(f"/v1/videos/{video['id']}")
    assert answer.json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    assert not [path for path in home.rglob("*") if video["id"] in str(path)]
    for path in ("", "/content"):
        refused(client.get(f"/v1/videos/{video['id']}{path}"), 404, "not_found")
    refused(client.delete(f"/v1/videos/{video['id']}"), 404, "not_found")


def test_a_finished_job_keeps_its_result_only(client: Client) -> None:
    video = client.video()
    client.until_ended(f"/v1/videos/{video['id']}")
    folder = client.context.jobs.home.job(video["id"])
    client.context.jobs._supervisor.wake()
    # The process may still be ending.
    for _ in range(100):
        left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        if left == ["out", "out/video.mp4"]:
            break
        __import__("time").sleep(0.05)
    assert left == ["out", "out/video.mp4"], "what the client sent is not kept"


@pytest.mark.parametrize("format", ["webm-alpha", "png", "landmarks"])
def test_other_formats(client: Client, format: str, tmp_path: Path) -> None:
    data = content(client, client.video(format=format))
    if format == "png":
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            assert len(file.namelist()) == 10 and all(name.endswith(".png") for name in file.namelist())
            assert file.testzip() is None
    elif format == "landmarks":
        (tmp_path / "motion.safetensors").write_bytes(data)
        assert load_tensors(tmp_path / "motion.safetensors")["landmarks"].shape == (10, 190, 3)
    else:
        assert data[:4] == b"\x1aE\xdf\xa3" and len(pictures(data)) == 10


@pytest.mark.parametrize("way", ["form", "data"])
def test_an_uploaded_picture_stands_behind(client: Client, tmp_path: Path, way: str) -> None:
    green = png(tmp_path, (0, 255, 0))
    if way == "form":
        answer = client.post(
            "/v1/videos",
            data={"model": "grid-s1", "size": "64"},
            files={"audio": tone(), "background": ("../../x.png", green)},
        )
    else:
        sound = "data:audio/wav;base64," + base64.b64encode(tone()).decode()
        behind = "data:image/png;base64," + base64.b64encode(green).decode()
        wanted = {"model": "grid-s1", "size": 64, "audio_reference": {"audio_url": sound}, "background": behind}
        answer = client.post("/v1/videos", json=wanted)
    corner = pictures(content(client, answer.json()))[5][:4, :4].reshape(-1, 3).mean(0)
    assert corner[1] > 180 and corner[0] < 80 and corner[2] < 80, corner


def test_the_same_seed_gives_the_same_video_and_sync_gives_it_at_once(client: Client) -> None:
    fields = {"model": "grid-s1", "size": "64", "seed": "7", "temperature": "0.5"}
    first = content(client, client.video(**fields))
    before = len(client.get("/v1/videos").json()["data"])
    answer = client.post("/v1/videos/sync", data=fields, files={"audio": tone()})
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4"
    assert all(np.array_equal(a, b) for a, b in zip(pictures(first), pictures(answer.content), strict=True))
    assert len(client.get("/v1/videos").json()["data"]) == before, "nothing of it is kept"


def test_lists_are_pages(client: Client) -> None:
    params = {"format": "mp4", "shown_size": "auto"}
    store = client.context.jobs.store
    made = [store.add(new_id("video"), "video", "grid-s1", params).id for _ in range(3)]
    for video in made:
        store.cancel(video)
    page = client.get("/v1/videos?limit=2").json()
    assert page["object"] == "list" and [video["id"] for video in page["data"]] == made[:0:-1]
    assert page["has_more"] and page["last_id"] == made[1]
    assert client.get(f"/v1/videos?limit=1&after={made[1]}").json()["data"][0]["id"] == made[0]
    assert client.get("/v1/videos?order=asc&limit=100").json()["data"][-1]["id"] == made[2]


def test_the_official_client_library_works(client: Client, tmp_path: Path) -> None:
    official = openai.OpenAI(base_url=client.v1, api_key="none")
    video = official.videos.create(
        model="grid-s1", prompt="a title", input_reference=("hello.wav", tone()), size=SMALL, seconds="4"
    )
    assert video.id.startswith("video_") and video.status in ("queued", "in_progress")
    client.until_ended(f"/v1/videos/{video.id}")
    done = official.videos.retrieve(video.id)
    assert done.status == "completed" and done.progress == 100 and done.model == "grid-s1" and done.seconds == "0.4"
    assert video.id in [found.id for found in official.videos.list(limit=50)]
    assert len(pictures(official.videos.download_content(video.id).read())) == 10
    deleted = official.videos.delete(video.id)
    assert deleted.deleted and deleted.object == "video.deleted"
    with pytest.raises(openai.NotFoundError):
        official.videos.retrieve(video.id)
    assert "grid-s1" in [model.id for model in official.models.list()]


def test_text_is_spoken(client: Client) -> None:
    pytest.importorskip("hibari", reason="needs the extra [tts]")
    official = openai.OpenAI(base_url=client.v1, api_key="none")
    video = official.videos.create(model="grid-s1", prompt="Hi.", size=SMALL)
    done = client.until_ended(f"/v1/videos/{video.id}")
    assert done["status"] == "completed" and done["prompt"] == "Hi." and 0.2 < float(done["seconds"]) < 3, done
    assert [step["name"] for step in done["steps"]] == ["speak", "render"]


@pytest.mark.parametrize(
    "change, status, code, word",
    [
        ({"model": "nobody"}, 404, "not_found", "avatar"),
        ({"model": "../../etc"}, 404, "not_found", "avatar"),
        ({"size": "512x256"}, 422, "bad_request", "size"),
        ({"size": "7"}, 422, "bad_input", "7"),
        ({"size": "source"}, 422, "bad_input", "no video"),
        ({"body": "source"}, 422, "bad_input", "no video"),
        ({"seed": "x"}, 422, "bad_request", "seed"),
        ({"temperature": "9"}, 422, "bad_input", "temperature"),
        ({"temperature": "nan"}, 422, "bad_input", "temperature"),
        ({"style": "angry"}, 422, "bad_input", "angry"),
        ({"style": "1.2"}, 422, "bad_input", "style"),
        ({"format": "exe"}, 422, "bad_request", "format"),
        ({"background": "/etc/passwd"}, 422, "bad_request", "background"),
        ({"background": "http://127.0.0.1/x.png"}, 422, "bad_request", "background"),
        ({"background": "data:image/png;base64,AAAA"}, 422, "bad_input", ""),
        ({"nonsense": "1"}, 422, "bad_request", "nonsense"),
        ({"audio_reference": '{"audio_url": "http://127.0.0.1/a.wav"}'}, 422, "bad_request", "data"),
        ({"audio_reference": "x"}, 422, "bad_request", "JSON"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    client: Client, change: dict[str, str], status: int, code: str, word: str
) -> None:
    before = len(client.context.jobs.store.list())
    files = {} if "audio_reference" in change else {"audio": tone()}
    answer = client.post("/v1/videos", data={"model": "grid-s1", "size": "64", **change}, files=files)
    refused(answer, status, code, word)
    assert str(client.context.settings.home) not in answer.text
    jobs = client.context.jobs
    assert len(jobs.store.list()) == before
    assert {path.name for path in (jobs.home.root / "jobs").iterdir()} <= {job.id for job in jobs.store.list()}


@pytest.mark.parametrize(
    "body, word",
    [
        (b"", "model"),
        (b"{", "JSON"),
        (b"[" * 20_000, "JSON"),
        (b"[]", "object"),
        (json.dumps({"model": "grid-s1"}).encode(), "nothing to say"),
        (json.dumps({"model": "grid-s1", "prompt": " \n"}).encode(), "nothing to say"),
    ],
)
def test_bad_bodies_are_refused(client: Client, body: bytes, word: str) -> None:
    answer = client.post("/v1/videos", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, "bad_request", word)


@pytest.mark.parametrize(
    "path, kind",
    [
        *((path, "application/x-www-form-urlencoded") for path in ("videos", "avatars", "uploads", "live")),
        ("audio/speech", "application/x-www-form-urlencoded"),
        ("live", "text/plain"),
    ],
)
def test_json_that_is_not_said_to_be_json(client: Client, path: str, kind: str) -> None:
    answer = client.post(f"/v1/{path}", content=b'{"model": "grid-s1"}', headers={"Content-Type": kind})
    refused(answer, 422, "bad_request")
    assert answer.json()["error"]["remedy"] == "send the header Content-Type: application/json"


def test_a_failed_job_has_no_step_at_work(client: Client) -> None:
    store = client.context.jobs.store
    made = store.add(new_id("report"), "report", "grid-s1", {})
    with store._open() as db:
        steps = '[{"name": "a", "status": "completed"}, {"name": "b", "status": "in_progress"}]'
        db.execute("UPDATE jobs SET state = 'failed', steps = ? WHERE id = ?", (steps, made.id))
    shown = client.get("/v1/avatars/grid-s1/report").json()
    assert [step["status"] for step in shown["steps"]] == ["completed", "failed"]
    store.delete(made.id)


@pytest.mark.parametrize("sound", [b"", b"RIFF", b"\0" * 5000, tone()[:50], b"#EXTM3U\nhttp://127.0.0.1/x"])
def test_what_is_no_sound_is_refused_in_a_sentence(client: Client, sound: bytes) -> None:
    answer = client.post("/v1/videos", data={"model": "grid-s1"}, files={"audio": ("a.wav", sound)})
    refused(answer, 422, "bad_input")
    assert "/jobs/" not in answer.text and "/tmp" not in answer.text


def test_limits(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"most_speech_seconds": 1.0, "most_text": 20, "most_queued_jobs": 2}
    with jobs_server(tmp_path, **limits) as client:
        long = client.post("/v1/videos", data={"model": "grid-s1"}, files={"audio": tone(1.5)})
        refused(long, 422, "too_long", "1 s")
        refused(client.post("/v1/videos", json={"model": "grid-s1", "prompt": "x" * 21}), 422, "too_long", "20")
        answers = [
            client.post("/v1/videos", data={"model": "grid-s1", "size": "64"}, files={"audio": tone()})
            for _ in range(6)
        ]
        full = [answer for answer in answers if answer.status_code != 200]
        assert full, "one is at work, two may wait"
        refused(full[0], 429, "queue_full")
        assert int(full[0].headers["Retry-After"]) >= 1


def test_no_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    with jobs_server(tmp_path, most_job_bytes=20_000) as client:
        (tmp_path / "jobs" / "old").mkdir()
        (tmp_path / "jobs" / "old" / "x").write_bytes(b"\0" * 30_000)
        answer = client.post("/v1/videos", data={"model": "grid-s1", "size": "64"}, files={"audio": tone()})
        refused(answer, 507, "storage_full")
        refused(client.post("/v1/uploads", json={"bytes": 10}), 507, "storage_full")


def test_a_voice_that_there_is_not_is_refused(client: Client) -> None:
    pytest.importorskip("hibari", reason="needs the extra [tts]")
    answer = client.post("/v1/videos", json={"model": "grid-s1", "prompt": "Hi.", "voice": "nobody"})
    refused(answer, 422, "no_such_voice", "nobody")


def test_a_full_queue_refuses_before_the_body_is_read(tmp_path: Path) -> None:
    with jobs_server(tmp_path, most_queued_jobs=0) as client:
        headers = {"Content-Type": "application/json"}
        refused(client.post("/v1/videos", content=b"{", headers=headers), 429, "queue_full")


def test_the_event_loop_never_waits_for_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may hold its lock, and all live faces would stand still."""
    where: list[str] = []
    opened = JobStore._open

    def watched(store: JobStore) -> Any:
        with suppress(RuntimeError):
            asyncio.get_running_loop()
            where.append("".join(traceback.format_stack()[-6:-1]))
        return opened(store)

    with jobs_server(tmp_path) as client:
        monkeypatch.setattr(JobStore, "_open", watched)
        upload = client.upload(b"no video")
        video = client.video()["id"]
        for method, path, body in (
            ("GET", f"/v1/videos/{video}", None),
            ("POST", "/v1/videos/sync", {"model": "none"}),
            ("POST", "/v1/avatars/check", {"upload": upload}),
            ("POST", "/v1/avatars", {"upload": upload, "consent": "x"}),
            ("POST", "/v1/avatars/import", {"upload": upload}),
            ("GET", "/v1/avatars", None),
            ("GET", "/metrics", None),
            ("DELETE", f"/v1/videos/{video}", None),
        ):
            assert client.request(method, path, json=body).status_code < 500
        assert where == []
