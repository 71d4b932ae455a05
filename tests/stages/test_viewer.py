"""What the viewer answers, and over HTTP: to whom."""

import http.client
import json
import threading

import numpy as np
import pytest

PHRASE = "Bright left upper square."


@pytest.fixture(scope="module")
def viewer(tiny_run, tiny_dataset):
    from mmil_cli.stages.evaluation import open_evaluation
    from mmil_cli.stages.viewer import Viewer

    return Viewer(open_evaluation(tiny_dataset, checkpoint=tiny_run, device="cpu"))


@pytest.fixture(scope="module")
def server(viewer):
    from mmil_cli.stages.view_server import ViewServer

    with ViewServer(0, token="the-token") as server:
        server.viewer = viewer
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    content = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
    connection.request(
        method, path, content, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    return answer, found


def error_of(server, *arguments, **headers):
    answer, content = ask(server, *arguments, **headers)
    return answer.status, json.loads(content)["error"]


def test_the_score_and_map_are_those_of_ground(viewer):
    from mmil_cli.data.maps import grid_to_film

    answer = viewer.ask(3, PHRASE)
    embedder, dataset = viewer.embedder, viewer.dataset
    fitted = embedder.fit(dataset.pixels(3))
    regions = embedder.films([fitted]).regions
    report = embedder.reports([[PHRASE]])
    assert answer.score == pytest.approx(float(embedder.logits(regions, report)[0, 0]), abs=1e-4)
    grid = embedder.maps(regions, embedder.sentences([PHRASE]))[0, 0].numpy()
    row = dataset.row(3)
    values = grid_to_film(grid, size=embedder.contract.size, to_film=fitted.to_stored, height=row.height,
                          width=row.width, centre=regions.cell_centre)  # fmt: skip
    shown = np.frombuffer(answer.map.levels, np.uint8).reshape(answer.map.height, answer.map.width)
    wanted = np.clip((values - viewer.low) / (viewer.high - viewer.low), 0, 1) * 254
    assert np.abs(shown - wanted).max() <= 0.51


def test_a_score_is_held_against_films_of_other_patients_that_were_not_trained_on(viewer):
    assert {viewer.row(row).split for row in viewer.others} == {"validate", "test"}
    trained = next(row for row in range(len(viewer.dataset)) if viewer.row(row).split == "train")
    assert viewer.ask(trained, PHRASE).num_others == len(viewer.others)
    seen = viewer.others[0]
    same = sum(viewer.row(row).patient_id == viewer.row(seen).patient_id for row in viewer.others)
    answer = viewer.ask(seen, PHRASE)
    assert answer.num_others == len(viewer.others) - same
    others = [row for row in viewer.others if viewer.row(row).patient_id != viewer.row(seen).patient_id]
    below = sum(viewer.ask(row, PHRASE).score < answer.score for row in others)
    assert abs(answer.num_below - below) <= 1


def test_phrases_of_the_films_own_report_are_likelier_than_those_of_others(viewer):
    from mmil_cli.stages.viewer import Verdict

    own, foreign = [], []
    rows = viewer.others[:12]
    for place, row in enumerate(rows):
        told = set(viewer.row(row).sentences)
        own += [viewer.ask(row, text) for text in told]
        foreign += [viewer.ask(row, text) for text in set(viewer.row(rows[place - 1]).sentences) - told]
    assert np.mean([answer.chance for answer in own]) > np.mean([answer.chance for answer in foreign]) + 0.2
    likely = [answer.verdict is Verdict.LIKELY for answer in own]
    assert np.mean(likely) > np.mean([answer.verdict is Verdict.LIKELY for answer in foreign])
    for answer in own + foreign:
        wanted = (
            Verdict.LIKELY
            if answer.chance >= 2 / 3
            else Verdict.UNLIKELY
            if answer.chance <= 1 / 3
            else "unclear"
        )
        assert answer.verdict == wanted


def test_without_reports_there_is_a_map_but_no_verdict(viewer, monkeypatch):
    monkeypatch.setattr(viewer, "_chance", viewer._calibrate([], [()] * len(viewer.others)))
    answer = viewer.ask(0, PHRASE)
    assert answer.verdict == "not known"
    assert any("whether a phrase is likely" in note for note in answer.notes())


def test_only_some_films_stay_encoded(viewer, monkeypatch):
    from mmil_cli.stages import viewer as module

    monkeypatch.setattr(module, "CACHED_FILMS", 2)
    for row in (0, 1, 2, 1):
        viewer.open(row)
    assert list(viewer._films) == [2, 1]


def test_words_the_model_does_not_know_are_said(viewer):
    notes = viewer.ask(0, "bright ☃ square").notes()
    assert any("does not know" in note for note in notes)
    assert any("the end did not count" in note for note in viewer.ask(0, "square " * 140).notes())


def test_the_page_comes_with_a_policy_and_stays_out_of_frames_and_caches(server):
    answer, content = ask(server, "GET", "/the-token/")
    assert answer.status == 200
    assert content.startswith(b"<!doctype html>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_films_are_listed_found_and_shown(server, viewer):
    name = viewer.row(5).image_id
    _, content = ask(server, "GET", f"/the-token/films?find={name.upper()}")
    assert name in [film["id"] for film in json.loads(content)["films"]]
    _, content = ask(server, "GET", "/the-token/films?split=test&from=1")
    found = json.loads(content)
    assert found["total"] == len(viewer.dataset.indices("test"))
    assert found["films"][0]["row"] == viewer.dataset.indices("test")[1]
    _, content = ask(server, "GET", "/the-token/film/5")
    assert json.loads(content)["sentences"] == list(viewer.row(5).sentences)
    for path in ("film", "thumb"):
        answer, content = ask(server, "GET", f"/the-token/{path}/5.png")
        assert answer.headers["Content-Type"] == "image/png"
        assert content.startswith(b"\x89PNG")


def test_a_phrase_is_answered(server, viewer):
    answer, content = ask(server, "POST", "/the-token/phrase", {"film": 3, "phrase": PHRASE})
    found = json.loads(content)
    assert answer.status == 200
    assert found["score"] == pytest.approx(viewer.ask(3, PHRASE).score)
    assert found["verdict"] in ("likely", "unclear", "unlikely")


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/the-token", "/the-toke/films", "/the-token2/", "/%74he-token/"]
)
def test_without_the_token_nothing_is_answered(server, path):
    status, sentence = error_of(server, "GET", path)
    assert status == 403
    assert "token is wrong; open the whole address" in sentence


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
    ],
)
def test_other_hosts_and_origins_are_refused_even_with_the_token(server, headers):
    for method, path, body in (
        ("GET", "/the-token/", None),
        ("POST", "/the-token/phrase", {"film": 0, "phrase": "x"}),
    ):
        status, sentence = error_of(server, method, path, body, **headers)
        assert status == 403
        assert sentence.startswith("This viewer ")


def test_its_own_origin_is_answered(server):
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{server.server_port}"
        answer, _ = ask(
            server,
            "POST",
            "/the-token/phrase",
            {"film": 0, "phrase": PHRASE},
            Host=host,
            Origin=f"http://{host}",
        )
        assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/the-token/film/99999", None, 404, "there is no film 99999"),
        ("GET", "/the-token/film/-1", None, 404, "there is no film -1"),
        ("GET", "/the-token/film/-1.png", None, 404, "there is no film -1"),
        ("GET", "/the-token/../../etc/passwd", None, 404, "no such page"),
        ("GET", "/the-token/films?split=nowhere", None, 400, "no split 'nowhere'"),
        ("GET", "/the-token/films?from=-3", None, 400, "place of a film"),
        ("POST", "/the-token/phrase", {"film": 99999, "phrase": "x"}, 404, "there is no film 99999"),
        ("POST", "/the-token/phrase", {"film": 0, "phrase": "  "}, 400, "has no words"),
        ("POST", "/the-token/phrase", {"film": 0, "phrase": "\ud800 square"}, 400, "not UTF-8"),
        ("POST", "/the-token/phrase", {"film": 0, "phrase": "square " * 200}, 400, "at most 1000"),
        ("POST", "/the-token/phrase", {"film": True, "phrase": "square"}, 400, "a film, by its number"),
        ("POST", "/the-token/phrase", {"phrase": "square"}, 400, "a film, by its number"),
        ("POST", "/the-token/phrase", [1], 400, "a film and a phrase"),
        ("POST", "/the-token/phrase", b"{", 400, "no JSON"),
        ("POST", "/the-token/phrase", b"[" * 16000, 400, "no JSON"),
        ("POST", "/the-token/phrase", b"x" * 17000, 413, "at most 16384 bytes"),
        ("POST", "/the-token/elsewhere", {}, 404, "no such page"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told_in_a_sentence(server, method, path, body, status, words):
    found, sentence = error_of(server, method, path, body)
    assert found == status
    assert words in sentence
    assert sentence.endswith(".")


def test_a_taken_port_is_one_error(server, tiny_run, tiny_dataset):
    from mmil_cli.errors import MmilError
    from mmil_cli.stages.view import run

    with pytest.raises(MmilError, match="give another --port, or 0"):
        run(tiny_run, tiny_dataset, port=server.server_port, on_start=print)
