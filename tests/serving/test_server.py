"""A server gives what `predict` gives, to many clients at once, and refuses the rest in one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner
from conftest import opinions
from fastapi.testclient import TestClient
from load import load
from rows import close
from servers import as_sent, served
from shipped import SHIPPED

from hfrecipes.cli import main
from hfrecipes.data.shapes.dialogues import wrong_order
from hfrecipes.errors import ConfigError
from hfrecipes.serving import batches, listening
from hfrecipes.serving.batches import Job, Worker
from hfrecipes.serving.limits import Limits, RefusedError
from hfrecipes.serving.server import make_app

ROOT = Path(__file__).resolve().parents[2]
JSON = {"Content-Type": "application/json"}
SMALL = Limits(body_bytes=100_000, rows=50, characters=2_000, waiting_rows=100, seconds=20, upload_seconds=0.5)

pytest_plugins = ["servers"]
pytestmark = pytest.mark.model


@pytest.fixture
def client(reviews):
    with TestClient(make_app(reviews, SMALL)) as client:
        yield client


def post(client, body, **headers):
    return client.post("/predict", content=body, headers={**JSON, **headers})


# --- answers -----------------------------------------------------------------------------------------------------


def test_a_row_gives_its_prediction_and_a_list_gives_one_for_each(client, reviews):
    rows = ["the film was lovely", {"text": "the meal was awful"}, {"text": "the song was fine", "id": 7}]
    expected = [reviews.predict(row if isinstance(row, str) else row["text"]) for row in rows]
    for row, prediction in zip(rows, expected, strict=True):
        answer = client.post("/predict", json=row)
        assert answer.status_code == 200
        assert close(answer.json(), as_sent(prediction))
    assert close(client.post("/predict", json=rows).json(), as_sent(expected))
    assert client.post("/predict", json=[]).json() == []


@pytest.mark.parametrize("blank", ["", "  \n", {"text": ""}, {"text": None}, {"text": " "}])
def test_a_blank_row_gives_null_alone_and_beside_others(client, blank):
    assert client.post("/predict", json=blank).json() is None
    answer = client.post("/predict", json=[blank, "the film was lovely"] if isinstance(blank, str) else [blank] * 2)
    assert answer.status_code == 200
    assert answer.json()[0] is None


FAST = ("text-classification", "token-classification", "question-answering", "multiple-choice", "fill-mask")


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=() if task in FAST else pytest.mark.long) for task in SHIPPED]
)
def test_requests_that_are_predicted_together_have_the_answers_of_each_alone(task, predictor_of, monkeypatch):
    predictor = predictor_of(task)
    inputs = [name for name, column in predictor.recipe.columns.items() if not column.reference]
    rows = []
    for sample in predictor.recipe.samples:
        rows.append({name: cell for name, cell in sample.items() if name in inputs})
    # A text that Python printed is another text where it stands alone, and is none beside others.
    column = next(iter(predictor.reads))
    printed = {**rows[0], column: "b'the film was lovely'"} if isinstance(rows[0][column], str) else rows[0]
    requests = [[row] for row in [*rows, printed]] + [rows, [*rows, printed]]
    expected = [as_sent(predictor.predict(request)) for request in requests]
    sizes = []
    original = predictor.predicted
    monkeypatch.setattr(predictor, "predicted", lambda given: sizes.append(len(given.rows)) or original(given))
    worker = Worker(predictor, Limits(batch_rows=64))
    jobs = [worker.submit(request, [1] * len(request)) for request in requests]
    worker.start()
    for job, predictions in zip(jobs, expected, strict=True):
        assert close(as_sent(job.result(60)), predictions, 1e-3)
    worker.stop()
    assert max(sizes) >= len(rows), "several requests share a batch"


def test_many_clients_at_once_all_get_their_own_answer(reviews):
    texts = [row["text"] for row in opinions(120, 5)]
    with served(make_app(reviews), Limits()) as address, ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda text: httpx.post(f"{address}/predict", json=text, timeout=60), texts))
    assert {answer.status_code for answer in answers} == {200}
    assert close([answer.json() for answer in answers], as_sent(reviews.predict(texts)), 1e-3)


def test_clients_that_ask_again_and_again_are_all_answered(reviews):
    with served(make_app(reviews), Limits()) as address:
        outcome = asyncio.run(load(address, clients=20, seconds=1))
    assert outcome.errors == 0, outcome
    assert outcome.statuses["200"] >= 20


@pytest.mark.long
def test_a_hundred_clients_for_ten_seconds_are_all_answered(reviews):
    with served(make_app(reviews), Limits()) as address:
        outcome = asyncio.run(load(address, clients=100, seconds=10))
    print(outcome)
    assert outcome.errors == 0, outcome
    assert outcome.statuses["200"] >= 100


# --- batches -----------------------------------------------------------------------------------------------------


def drawn(worker: Worker) -> list[int]:
    """Number of rows of each request in the next batch."""
    jobs, batch = list(worker._jobs), worker._next_batch()
    return [batch[job] for job in jobs]


def ask(worker: Worker, rows: int, size: int = 10) -> None:
    worker.submit([{"text": "fine"}] * rows, [size] * rows)


def test_a_request_with_many_rows_leaves_half_of_each_batch_to_those_after_it(reviews):
    worker = Worker(reviews, Limits(batch_rows=10))
    ask(worker, 500)
    assert drawn(worker) == [10]
    for rows in (1, 1, 30):
        ask(worker, rows)
    assert drawn(worker) == [6, 1, 1, 2]
    assert worker.waiting_rows == 500 - 10 - 6 + 30 - 2


def test_long_texts_make_smaller_batches_and_the_longest_one_of_its_own(reviews):
    worker = Worker(reviews, Limits(batch_rows=10, batch_characters=100))
    ask(worker, 4, 40)
    ask(worker, 1, 1000)
    assert drawn(worker) == [2, 0]
    assert drawn(worker) == [2, 0]
    assert drawn(worker) == [0, 1]


def test_rows_that_nobody_waits_for_are_not_predicted(reviews):
    worker = Worker(reviews, Limits())
    ask(worker, 3)
    answer = worker.submit([{"text": "fine"}] * 5, [4] * 5)
    answer.cancel()
    assert worker.waiting_rows == 3
    assert drawn(worker) == [3]


def test_a_request_on_which_the_model_fails_does_not_fail_its_neighbours(reviews, monkeypatch, caplog):
    original = reviews.predicted

    def fails(given):
        if "boom" in given.rows["text"][:]:
            raise ValueError("cannot allocate; token=hf_ABCDEFGHIJ1234")
        return original(given)

    monkeypatch.setattr(reviews, "predicted", fails)
    worker = Worker(reviews, Limits())
    jobs = [worker.submit([{"text": text}], [4]) for text in ("fine", "boom", "awful")]
    worker.start()
    assert [jobs[0].result(30)[0].keys(), jobs[2].result(30)[0].keys()] == [{"label", "score", "scores"}] * 2
    assert isinstance(jobs[1].exception(30), ValueError)
    worker.stop()
    assert "ValueError in a request" in caplog.text
    assert "hf_ABCDEFGHIJ1234" not in caplog.text


def test_what_is_noted_about_the_rows_of_a_request_is_not_printed(client, caplog):
    body = rb"""["", "b'fine'", "fine \ud83d"]"""
    with caplog.at_level(logging.INFO, "hfrecipes"):
        assert client.post("/predict", content=body, headers=JSON).status_code == 200
    assert not [record for record in caplog.records if record.name == "hfrecipes"]


# --- refusals ----------------------------------------------------------------------------------------------------

REFUSED = [
    (b'{"text": "fine"', 400, "not valid JSON"),
    (b"", 400, "not valid JSON"),
    (b"fine", 400, "not valid JSON"),
    (b'"fine" "fine"', 400, "not valid JSON"),
    (b"\xff\xfe", 400, "not UTF-8"),
    (b"[" * 10_000 + b"]" * 10_000, 400, "nested too deeply"),
    (b'{"text": 1' + b"0" * 5_000 + b"}", 400, "too many digits"),
    (b'{"text": "a", "text": "b"}', 400, "twice"),
    (b'{"txt": "fine"}', 422, "row 0 has 'txt', and this model reads text: send rows such as"),
    (b"{}", 422, "this model reads text"),
    (b"null", 422, "row 0 is null"),
    (b"12", 422, "row 0 is 12"),
    (b"NaN", 422, "row 0 is null"),
    (b'[["fine"]]', 422, "row 0 is a list"),
    (b'["fine", null]', 422, "row 1 is null"),
    (b'{"text": 12}', 422, "expected text"),
    (b'{"text": {"a": "b"}}', 422, "expected"),
    (b'{"text": 1e999}', 422, "expected text"),
    (b'{"text": "fine", "x": ' + b"[" * 30 + b"]" * 30 + b"}", 422, "lists inside each other"),
    (json.dumps(["fine"] * 51).encode(), 413, "51 rows, expected 50 at most"),
    (json.dumps("x" * 2_001).encode(), 413, "2,001 characters"),
    (json.dumps("x" * 200_000).encode(), 413, "more than 100,000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "sentence"), REFUSED, ids=[str(body[:25]) for body, _, _ in REFUSED])
def test_each_refusal_is_one_sentence_as_json(client, body, status, sentence):
    answer = post(client, body)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert sentence in answer.json()["error"]
    assert "columns." not in answer.json()["error"], "a client has no command line"
    assert "Traceback" not in answer.text
    assert len(answer.text) < 2_100
    assert client.post("/predict", json="fine").status_code == 200, "the server goes on"


@pytest.mark.parametrize(
    "text", ["a\x00b", "half \\ud83d", "\\u202e\\u001b[2J", "<script>alert(1)</script>", "好" * 900]
)
def test_texts_with_any_character_are_predicted(client, text):
    answer = post(client, f'{{"text": "{text}"}}'.replace("\x00", "\\u0000").encode())
    assert answer.status_code == 200
    assert answer.json()["label"] in ("damaged", "delivery")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
def test_a_page_of_another_site_cannot_send_rows_without_asking(client, kind):
    answer = client.post("/predict", content=b'"fine"', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["error"]
    assert post(client, b'"fine"', **{"Content-Type": "application/json; charset=utf-8"}).status_code == 200


def test_an_unknown_path_and_an_unknown_method_name_those_that_there_are(client):
    for answer, status in ((client.get("/predict"), 405), (client.get("/nothing"), 404), (client.put("/"), 405)):
        assert answer.status_code == status
        assert "POST /predict, GET /health" in answer.json()["error"]


def test_a_row_that_would_become_several_is_refused(predictor_of):
    article = {"title": "t", "paragraphs": [{"context": "It is red.", "qas": [{"question": "Which colour?"}] * 2}]}
    with TestClient(make_app(predictor_of("question-answering"))) as client:
        answer = client.post("/predict", json=article)
        assert answer.status_code == 422
        assert "question" in answer.json()["error"]
        assert client.post("/predict", json="Which colour?").status_code == 422
        good = client.post("/predict", json={"question": "Which colour?", "context": "It is red."})
        assert good.status_code == 200


WRONG = [
    ("multiple-choice", {"question": "Which?", "choices": 1.5}, "choices holds a float, expected a list of choices"),
    ("multiple-choice", {"question": "Which?", "choices": True}, "expected a list of choices"),
    ("question-answering", {"question": ["Which?"], "context": 5}, "expected text"),
    ("token-classification", {"tokens": 5}, "tokens"),
]


@pytest.mark.parametrize(("task", "row", "sentence"), WRONG)
def test_cells_of_wrong_types_are_refused_and_are_no_failure_of_the_model(task, row, sentence, predictor_of):
    with TestClient(make_app(predictor_of(task))) as client:
        answer = client.post("/predict", json=row)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_a_text_column_that_holds_no_text_gives_tags_and_no_entities(predictor_of):
    row = {"tokens": ["Ask", "Amina"], "text": 0}
    assert set(predictor_of("token-classification").predict([row])[0]) == {"tags", "scores"}


def test_a_turn_that_is_no_object_is_named():
    assert wrong_order(["hello"]) == """a turn is 'hello', expected {"role": …, "content": …}"""


def test_a_full_queue_says_when_to_come_again(reviews, monkeypatch):
    gate = threading.Event()
    original = reviews.predicted
    app = make_app(reviews, Limits(waiting_rows=10, batch_rows=5, seconds=30))
    monkeypatch.setattr(reviews, "predicted", lambda given: gate.wait(30) and original(given))
    with TestClient(app) as client, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(client.post, "/predict", json=["fine"] * 10) for _ in range(2)]
        refused = until_refused(client)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert "wait already" in refused.json()["error"]
        gate.set()
        assert [job.result(30).status_code for job in waiting].count(200) >= 1


def until_refused(client):
    """The first answer that is a refusal, of requests with as many rows as may wait."""
    for _ in range(200):
        if client.get("/health").json()["waiting_rows"]:
            return client.post("/predict", json=["fine"] * 10)
        time.sleep(0.05)
    raise AssertionError("nothing waits")


def test_an_answer_that_takes_too_long_is_given_up_and_not_computed(reviews, monkeypatch):
    gate, computed = threading.Event(), []
    original = reviews.predicted
    app = make_app(reviews, Limits(batch_rows=1, seconds=0.3))

    def slow(given):
        computed.append(given.rows["text"][0])
        gate.wait(30)
        return original(given)

    monkeypatch.setattr(reviews, "predicted", slow)
    with TestClient(app) as client:
        answer = client.post("/predict", json=["fine", "poor", "weak"])
        assert answer.status_code == 504
        assert "0.3 s" in answer.json()["error"]
        gate.set()
    assert computed == ["fine"]


# --- clients that are slow, go away, or never end ----------------------------------------------------------------


@contextlib.contextmanager
def connection(address: str):
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=20) as raw:
        yield raw


def received(raw: socket.socket) -> bytes:
    """An answer, which may arrive in several parts."""
    answer = b""
    while not (length := re.search(rb"content-length: (\d+)", answer)) or len(body_of(answer)) < int(length[1]):
        part = raw.recv(1 << 16)
        if not part:
            break
        answer += part
    return answer


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_body_without_end_is_cut_off_and_others_are_answered_meanwhile(reviews):
    with (
        served(make_app(reviews, SMALL), SMALL) as address,
        connection(address) as endless,
        connection(address) as slow,
    ):
        endless.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n")
        slow.sendall(HEAD + b'Content-Length: 1000\r\n\r\n{"te')
        assert httpx.post(f"{address}/predict", json="fine").status_code == 200
        for raw in (endless, slow):
            answer = received(raw)
            assert answer.startswith(b"HTTP/1.1 408"), answer
            assert b"within 0.5 s" in answer


def test_a_chunked_body_is_read_up_to_the_limit(reviews):
    with served(make_app(reviews, SMALL), SMALL) as address:
        short = httpx.post(f"{address}/predict", content=iter([b'"fi', b'ne"']), headers=JSON)
        assert short.status_code == 200
        with connection(address) as raw:
            raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):
                for _ in range(30):
                    raw.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
            assert received(raw).startswith(b"HTTP/1.1 413")


def test_a_connection_that_never_asks_is_closed(reviews, monkeypatch):
    monkeypatch.setattr(listening._Protocol, "seconds", 0.3)
    with served(make_app(reviews), Limits()) as address, connection(address) as idle, connection(address) as partial:
        partial.sendall(b"POST /predict HTTP/1.1\r\nHos")
        assert idle.recv(100) == b""
        assert partial.recv(100) == b""
        assert httpx.post(f"{address}/predict", json="fine").status_code == 200


def test_large_bodies_are_read_a_few_at_a_time_and_hold_up_no_small_one(reviews):
    limits = Limits(large_bodies=1, upload_seconds=2)
    with (
        served(make_app(reviews, limits), limits) as address,
        connection(address) as slow,
        connection(address) as next_,
    ):
        slow.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")
        time.sleep(0.2)
        next_.sendall(HEAD + b'Transfer-Encoding: chunked\r\n\r\n6\r\n"fine"\r\n0\r\n\r\n')
        started = time.monotonic()
        assert httpx.post(f"{address}/predict", json="fine").status_code == 200
        assert time.monotonic() - started < 1.5
        assert received(slow).startswith(b"HTTP/1.1 408")
        assert received(next_).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_is_answered_in_one_line(reviews, caplog):
    with served(make_app(reviews), Limits()) as address, connection(address) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert received(raw).startswith(b"HTTP/1.1 400")
        assert httpx.post(f"{address}/predict", json="fine").status_code == 200
    assert "Traceback" not in caplog.text


def test_the_rows_of_a_client_that_went_away_are_not_computed(reviews, monkeypatch):
    gate, computed = threading.Event(), []
    original = reviews.predicted
    limits = Limits(batch_rows=1)
    app = make_app(reviews, limits)

    def slow(given):
        computed.append(given.rows["text"][0])
        gate.wait(30)
        return original(given)

    monkeypatch.setattr(reviews, "predicted", slow)
    with served(app, limits) as address:
        body = json.dumps(["fine", "poor", "weak"]).encode()
        with connection(address) as raw:
            raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: computed)
        wait_until(lambda: httpx.get(f"{address}/health").json()["waiting_rows"] == 0)
        gate.set()
        assert httpx.post(f"{address}/predict", json="great").status_code == 200
    assert computed == ["fine", "great"]


def wait_until(condition) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


# --- pages -------------------------------------------------------------------------------------------------------


def test_health_tells_what_the_model_is_and_reads(client, reviews):
    health = client.get("/health").json()
    assert health["ready"] is True
    assert health["task"] == "text-classification"
    assert health["run"] == reviews.folder.name
    assert health["reads"] == ["text"]
    assert str(reviews.folder) not in client.get("/health").text


@pytest.mark.parametrize("task", ["text-classification", "multiple-choice"])
def test_the_openapi_document_has_the_columns_of_the_task_and_rows_that_work(task, predictor_of):
    predictor = predictor_of(task)
    with TestClient(make_app(predictor)) as client:
        operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
        body = operation["requestBody"]["content"]["application/json"]
        assert list(body["schema"]["anyOf"][0]["properties"]) == predictor.reads
        for name, example in body["examples"].items():
            answer = client.post("/predict", json=example["value"])
            assert answer.status_code == 200, name
            shown = operation["responses"]["200"]["content"]["application/json"]["examples"]
            if name in shown:
                assert close(answer.json(), shown[name]["value"], 1e-3)


def test_the_page_for_people_loads_nothing_from_elsewhere(client):
    for path in ("/docs", "/"):
        page = client.get(path)
        assert page.status_code == 200
        assert not re.search(r"(src|href)=.(https?:)?//", page.text)
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "My parcel was due on Monday" in page.text


# --- the command -------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    outcome = CliRunner().invoke(main, ["serve", "runs/none"])
    assert outcome.exit_code == 2
    assert "a server needs fastapi and uvicorn: pip install fastapi uvicorn" in outcome.stderr


def test_a_port_in_use_and_an_unknown_host_are_refused_before_the_model_is_loaded(monkeypatch):
    monkeypatch.setattr("hfrecipes.predictor.load", lambda *_, **__: pytest.fail("the model was loaded"))
    with listening.listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        outcome = CliRunner().invoke(main, ["serve", "runs/none", "--port", str(port)])
        assert outcome.exit_code == 2
        assert f"--port: {port} is in use" in outcome.stderr
    with pytest.raises(ConfigError, match=r"there is no host 'nowhere\.invalid'"):
        listening.listening_socket("nowhere.invalid", 0)


def test_a_run_that_names_code_is_refused_unless_it_is_trusted(run_of, tmp_path):
    run = tmp_path / "run"
    subprocess.run(["cp", "-r", run_of("text-classification"), run], check=True)
    recipe = (run / "recipe.yaml").read_text().replace("task: text-classification", "task: my_task.py")
    (run / "recipe.yaml").write_text(recipe)
    outcome = CliRunner().invoke(main, ["serve", str(run), "--port", "0"])
    assert outcome.exit_code == 2
    assert "would run" in outcome.stderr
    assert "--trust" in outcome.stderr


def test_sigterm_ends_the_server_once_requests_in_flight_are_answered(run_of, tmp_path):
    command = [sys.executable, "-m", "hfrecipes", "serve", str(run_of("text-classification")), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    address = ""
    for line in process.stderr:
        if match := re.match(r"(http://127\.0\.0\.1:\d+)  \(this machine alone reaches it; --host changes that", line):
            address = match[1]
            break
    body = json.dumps([row["text"] for row in opinions(900, 2)]).encode()
    with connection(address) as raw:
        raw.settimeout(120)
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        wait_until(lambda: httpx.get(f"{address}/health", timeout=30).json()["waiting_rows"])
        process.send_signal(signal.SIGTERM)
        answer = received(raw)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(json.loads(body_of(answer))) == 900
    assert process.wait(60) == 0
    assert process.stderr.read() == "all requests are answered\n"


def test_a_server_is_refused_more_rows_only_while_others_wait(reviews):
    worker = Worker(reviews, Limits(waiting_rows=10))
    ask(worker, 30)
    with pytest.raises(RefusedError, match="30 rows wait already"):
        ask(worker, 1)
    worker = Worker(reviews, Limits(waiting_characters=1_000))
    ask(worker, 1, 900)
    with pytest.raises(RefusedError, match="1 row waits already"):
        ask(worker, 1, 200)
    assert worker.batch_rows == batches.ROWS
    assert Job([], []).left == 0
