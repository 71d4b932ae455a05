import re
import xml.etree.ElementTree as ET

from mmil_cli.viz.drawings import shares, training

LINE = [(0.0, 0.0), (0.2, 0.8), (1.0, 1.0)]
COLOURS = {"var(--c0)", "var(--c1)"}


def words(svg: str) -> str:
    return " ".join(
        "".join(node.itertext()).strip() for node in ET.fromstring(svg).iter() if node.tag.endswith("text")
    )


def colours(svg: str) -> set[str]:
    return set(re.findall(r"var\(--c\d\)", svg))


def test_each_finding_has_a_panel_and_each_run_a_line_and_a_name():
    svg = shares({"Edema": {"a": LINE, "b": LINE}, "Mass <b>": {"a": LINE}}, ["a", "b"], x="x", y="y")
    assert colours(svg) == COLOURS
    assert {"Edema", "Mass <b>", "a", "b"} <= set(re.findall(r"Edema|Mass <b>|\ba\b|\bb\b", words(svg)))
    assert "Mass &lt;b&gt;" in svg


def test_all_colours_are_the_pages_own():
    svg = shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y", marks=True)
    assert not re.search(r"#0102", svg)
    assert "var(--ink)" in svg
    assert "var(--faint)" in svg
    assert not re.search(r"#000000|black", svg)


def test_a_line_that_is_not_there_is_said_to_be_undefined():
    assert "undefined" in words(shares({"Edema": {"a": []}}, ["a"], x="x", y="y"))
    assert "undefined" not in words(shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y"))


def test_marks_and_diagonal_are_drawn_where_they_are_asked_for():
    plain = shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y", diagonal=False)
    assert plain != shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y", diagonal=True)
    assert plain != shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y", diagonal=False, marks=True)


def test_training_draws_what_the_logs_have():
    log = [{"kind": "train", "step": step, "loss": 1 / step} for step in (1, 2, 3)]
    held = [{"kind": "validate", "step": 3, "image_to_text_r@5": 0.5, "loss": None}]
    assert "loss, training" in words(training({"a": log}))
    assert "R@5" not in words(training({"a": log}))
    assert "R@5, image to report" in words(training({"a": [*log, *held], "b": log}))
    assert "held-out" not in words(training({"a": [*log, *held]}))
    assert training({"a": []}) == ""


def test_the_same_input_gives_the_same_drawing_and_changes_no_setting():
    import matplotlib as mpl

    before = mpl.rcParams["svg.fonttype"]
    first, again = (shares({"Edema": {"a": LINE}}, ["a"], x="x", y="y") for _ in range(2))
    assert first == again
    assert mpl.rcParams["svg.fonttype"] == before
