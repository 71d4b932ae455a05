"""The report and the viewer in a real browser."""

import signal
import subprocess
import sys

import browser as chromium
import pytest

pytestmark = pytest.mark.skipif(
    not chromium.is_installed(), reason="chromium and chromedriver are not installed"
)

INK = """((drawn) => {
  const copy = new OffscreenCanvas(drawn.width, drawn.height).getContext("2d", {willReadFrequently: true});
  copy.drawImage(drawn, 0, 0);
  const alphas = copy.getImageData(0, 0, drawn.width, drawn.height).data.filter((_, at) => at % 4 === 3);
  return alphas.reduce((sum, alpha) => sum + alpha, 0);
})"""
"""How much of a map is drawn: the sum of its alphas, read off a copy."""

PRESS = """
const slider = document.querySelector(arguments[0]);
slider.value = arguments[1];
slider.dispatchEvent(new Event("input", {bubbles: true}));
"""


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with chromium.browser(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@pytest.fixture(scope="module")
def address(tiny_run, tiny_dataset):
    """Of the command's own viewer, ended by Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "mmil_cli",
        "view",
        tiny_run,
        tiny_dataset,
        "--no-open",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().removeprefix("view: ").strip()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert "The viewer has ended." in told
    assert "Traceback" not in told


def test_the_report_renders_and_its_sliders_move_the_map(window, tiny_run, tiny_dataset, tmp_path):
    from mmil_cli.stages.report import run

    run([tiny_run], tmp_path / "report.html", data=tiny_dataset, device="cpu")
    window.open((tmp_path / "report.html").as_uri())
    first = "document.querySelector('figure.grounded canvas')"
    drawn = window.wait(f"{INK}({first})")
    assert window.run("return document.querySelectorAll('.drawing svg').length") == 1
    window.run(PRESS, "figure.grounded input[name=opacity]", 30)
    fainter = window.run(f"return {INK}({first})")
    assert 0.3 * drawn < fainter < 0.5 * drawn  # 30 of 75 per cent
    window.run(PRESS, "figure.grounded input[name=threshold]", 80)
    assert window.run(f"return {INK}({first})") < fainter
    window.run(PRESS, "figure.grounded input[name=opacity]", 0)
    assert window.run(f"return {INK}({first})") == 0
    assert window.run("return document.querySelector('figure.grounded output').textContent") == "0 %"
    assert window.console() == []


def test_another_phrase_of_a_panel_has_another_map_also_from_the_keyboard(window):
    pixels = "document.querySelector('figure.grounded canvas').toDataURL()"
    window.run(PRESS, "figure.grounded input[name=opacity]", 75)
    window.run(PRESS, "figure.grounded input[name=threshold]", 10)
    before = window.run(f"return {pixels}")
    window.type("figure.grounded input[type=radio]:checked", "\ue015")  # arrow down
    assert window.run("return document.querySelectorAll('figure.grounded input[type=radio]')[1].checked")
    assert window.run(f"return {pixels}") != before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_report_follows_the_theme(window, theme):
    window.theme(theme)
    light = window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (theme == "light")
    line = window.run("return getComputedStyle(document.documentElement).getPropertyValue('--c0').trim()")
    assert line == {"light": "#0072b2", "dark": "#5fb4e8"}[theme]


def test_a_typed_phrase_draws_its_map_and_says_whether_it_is_likely(window, address):
    window.open(address)
    window.wait("!document.getElementById('phrase').disabled")
    assert window.run(f"return {INK}(document.getElementById('map'))") == 0
    window.type("#phrase", "Bright left upper square.")
    assert window.wait("document.querySelector('.verdict')?.textContent") in ("Likely", "Unclear", "Unlikely")
    drawn = window.wait(f"{INK}(document.getElementById('map'))")
    window.run(PRESS, "input[name=opacity]", 20)
    assert window.run(f"return {INK}(document.getElementById('map'))") < drawn
    assert window.run("return document.getElementById('film').naturalWidth") == 64
    assert window.console() == []


def test_a_sentence_of_the_report_is_a_question_and_another_film_another_answer(window):
    window.run("document.querySelector('#report button').click()")
    sentence = window.run("return document.querySelector('#report button').textContent")
    assert window.run("return document.getElementById('phrase').value") == sentence
    score = "document.querySelector('#answer .faint')?.textContent"
    first = window.wait(score)
    window.run("document.querySelectorAll('#list button')[5].click()")
    window.wait(f"{score} && {score} !== arguments[0]".replace("arguments[0]", repr(first)))
    assert window.run("return document.querySelectorAll('#list button[aria-current=true]').length") == 1
    assert window.console() == []


def test_an_empty_phrase_asks_for_one_and_takes_the_map_away(window):
    window.run(
        "const p = document.getElementById('phrase'); p.value = ''; p.dispatchEvent(new Event('input'))"
    )
    window.wait("document.getElementById('answer').textContent.startsWith('Type what to look for')")
    assert window.run(f"return {INK}(document.getElementById('map'))") == 0


def test_a_page_of_another_origin_gets_nothing(window, address, tmp_path):
    (tmp_path / "evil.html").write_text("<!doctype html><title>evil</title>")
    window.open((tmp_path / "evil.html").as_uri())
    window.run(
        "fetch(arguments[0]).then(() => window.got = 'an answer', () => window.got = 'nothing')", address
    )
    assert window.wait("window.got") == "nothing"
