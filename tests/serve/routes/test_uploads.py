from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ..jobs_server import Client, jobs_server, refused


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with jobs_server(tmp_path_factory.mktemp("home"), most_upload_bytes=50_000_000) as client:
        yield client


def begin(client: Client, size: int) -> str:
    answer = client.post("/v1/uploads", json={"bytes": size})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def data(client: Client, upload: str) -> bytes:
    return (client.context.settings.home / "uploads" / upload / "data").read_bytes()


def offset(client: Client, upload: str) -> int:
    answer = client.head(f"/v1/uploads/{upload}")
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def test_pieces_make_the_file(client: Client) -> None:
    whole = os.urandom(3_000_017)
    answer = client.post("/v1/uploads", json={"bytes": len(whole), "name": "../../me\n.mp4"})
    made = answer.json()
    assert made["object"] == "upload" and made["status"] == "pending" and made["name"] == "me .mp4"
    assert answer.headers["Location"] == f"/v1/uploads/{made['id']}"
    path = f"/v1/uploads/{made['id']}"
    first = client.patch(path, content=whole[:1000], headers={"Upload-Offset": "0"})
    assert first.json()["offset"] == 1000 and first.headers["Upload-Offset"] == "1000"
    head = client.head(path)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("1000", str(len(whole)))
    rest = {"Content-Range": f"bytes 1000-{len(whole) - 1}/{len(whole)}"}
    assert client.put(path, content=whole[1000:], headers=rest).json()["status"] == "completed"
    assert data(client, made["id"]) == whole
    assert client.delete(path).json()["deleted"]
    refused(client.get(path), 404, "not_found")
    assert not (client.context.settings.home / "uploads" / made["id"]).exists()


def test_it_goes_on_after_a_broken_connection(client: Client) -> None:
    whole = os.urandom(5_000_000)
    upload = begin(client, len(whole))
    sent = 0
    for cut in (1_700_000, 900_001, 64, 1_100_000):
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        with socket.create_connection((host, port)) as connection:
            rest = len(whole) - sent
            connection.sendall(
                f"PATCH /v1/uploads/{upload} HTTP/1.1\r\nHost: {host}:{port}\r\nUpload-Offset: {sent}\r\n"
                f"Content-Length: {rest}\r\n\r\n".encode()
            )
            connection.sendall(whole[sent : sent + cut])
            time.sleep(0.05)
        # The server notices the end in its own time.
        end = time.monotonic() + 10
        while upload in client.context.jobs.uploads._writing and time.monotonic() < end:
            time.sleep(0.01)
        now = offset(client, upload)
        assert sent <= now <= sent + cut
        sent = now
        assert data(client, upload) == whole[:sent]
    assert sent > 1_000_000
    answer = client.patch(f"/v1/uploads/{upload}", content=whole[sent:], headers={"Upload-Offset": str(sent)})
    assert answer.json()["status"] == "completed" and data(client, upload) == whole


@pytest.mark.parametrize("stated", ["5", "1", "999999999999999"])
def test_a_piece_that_does_not_fit_is_refused_and_said_where_it_is(client: Client, stated: str) -> None:
    upload = begin(client, 100)
    client.patch(f"/v1/uploads/{upload}", content=b"abc", headers={"Upload-Offset": "0"})
    answer = client.patch(f"/v1/uploads/{upload}", content=b"x", headers={"Upload-Offset": stated})
    refused(answer, 409, "wrong_offset", "3 bytes")
    assert answer.headers["Upload-Offset"] == "3" and data(client, upload) == b"abc"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Offset": "-1"},
        {"Upload-Offset": "x"},
        {"Upload-Offset": "1" * 400},
        {"Upload-Offset": "²"},
        {"Content-Range": "bytes 0-2/7"},
        {"Content-Range": "bytes=0-2"},
    ],
)
def test_a_piece_says_where_it_begins(client: Client, headers: dict[str, str]) -> None:
    upload = begin(client, 100)
    answer = client.patch(
        f"/v1/uploads/{upload}", content=b"abc", headers=[(k.encode(), v.encode()) for k, v in headers.items()]
    )
    refused(answer, 422, "bad_request")
    assert offset(client, upload) == 0


def test_no_more_comes_in_than_was_announced(client: Client) -> None:
    upload = begin(client, 10)
    refused(client.patch(f"/v1/uploads/{upload}", content=b"x" * 11, headers={"Upload-Offset": "0"}), 413, "too_large")
    assert len(data(client, upload)) <= 10


@pytest.mark.parametrize("size", [0, -5, "x", 1e99, None])
def test_the_size_is_a_number_that_may_be(client: Client, size: object) -> None:
    refused(client.post("/v1/uploads", json={"bytes": size}), 422, "bad_request")


def test_too_large_ones_are_refused_before_a_byte_is_sent(client: Client) -> None:
    refused(client.post("/v1/uploads", json={"bytes": 50_000_001}), 413, "too_large")


def test_two_at_once_do_not_mix(client: Client) -> None:
    upload = begin(client, 1_000_000)
    answers = []

    def send() -> None:
        with Client(base_url=client.base_url) as other:
            answers.append(
                other.patch(f"/v1/uploads/{upload}", content=b"x" * 500_000, headers={"Upload-Offset": "0"}).status_code
            )

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers)[0] == 200 and set(answers) <= {200, 409} and answers.count(200) == 1
    assert offset(client, upload) == 500_000


def test_what_is_announced_counts_before_it_comes(tmp_path: Path) -> None:
    with jobs_server(tmp_path, most_job_bytes=1_000_000) as client:
        begin(client, 600_000)
        refused(client.post("/v1/uploads", json={"bytes": 600_000}), 507, "storage_full")


def test_there_are_only_so_many(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        for _ in range(100):
            begin(client, 1)
        refused(client.post("/v1/uploads", json={"bytes": 1}), 429, "too_many_uploads")


def test_abandoned_ones_are_removed_after_a_day(tmp_path: Path) -> None:
    with jobs_server(tmp_path) as client:
        old, new = begin(client, 10), begin(client, 10)
        with client.context.jobs.store._open() as db:
            db.execute("UPDATE uploads SET touched_at = touched_at - 25 * 3600 WHERE id = ?", (old,))
    (tmp_path / "uploads" / "up_orphan").mkdir()
    with jobs_server(tmp_path) as client:
        refused(client.get(f"/v1/uploads/{old}"), 404, "not_found")
        assert offset(client, new) == 0
        assert [path.name for path in (tmp_path / "uploads").iterdir()] == [new]


@pytest.mark.parametrize("name", ["..", "%2e%2e", "up_x", "..%2f..%2fetc%2fpasswd", "up_" + "0" * 24])
def test_ids_lead_nowhere(client: Client, name: str) -> None:
    for method in ("GET", "DELETE", "PATCH", "PUT", "HEAD"):
        assert client.request(method, f"/v1/uploads/{name}", headers={"Upload-Offset": "0"}).status_code in (400, 404)


def test_those_announced_at_the_same_time_count(tmp_path: Path) -> None:
    with jobs_server(tmp_path, most_job_bytes=1_000_000) as client:
        jobs, gate = client.context.jobs, threading.Barrier(2)
        create = jobs.uploads.create

        def slow(size: int, name: str = "") -> Any:
            # The other one, if nothing held it back, would have looked for room by now.
            with suppress(threading.BrokenBarrierError):
                gate.wait(0.5)
            return create(size, name)

        jobs.uploads.create = slow
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/uploads", json={"bytes": 600_000}).status_code, "ab"))
        assert sorted(answers) == [201, 507]
