import pytest

from mmil_cli.cli.tables import show_table

ROWS = [("Edema", "0.5"), ("Pleural Effusion [left]", "12.25")]


def test_a_pipe_gets_aligned_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("figures", ("finding", "value"), ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "figures",
        "finding                  value",
        "Edema                      0.5",
        "Pleural Effusion [left]  12.25",
        "",
    ]


def test_a_terminal_gets_a_drawn_table_with_brackets_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_table("figures", ("finding", "value"), ROWS, left=(0, 1))
    assert "Pleural Effusion [left]" in capsys.readouterr().out
