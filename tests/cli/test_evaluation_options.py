import pytest
import typer
from typer.testing import CliRunner

from mmil_cli.cli.probe import probe
from mmil_cli.cli.retrieve import retrieve
from mmil_cli.errors import UsageError

app = typer.Typer()
app.command()(probe)
app.command()(retrieve)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe", "data", "--method", "linear", "--prompts", "chexpert"], "--prompts is for zero-shot"),
        (["probe", "data", "--method", "linar"], "did you mean 'linear'"),
        (["probe", "data", "--method", ","], "names nothing"),
        (["probe", "data", "--findings", " ", "--checkpoint", "x"], "names nothing"),
        (["retrieve", "data", "--text", "edema", "--image", "film.png"], "one of them at a time"),
        (["retrieve", "data", "--top", "3"], "--top is for a query"),
        (["retrieve", "data", "--text", "edema", "--seed", "1"], "nothing random"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    "arguments", [["probe", "data", "--uncertain", "maybe"], ["retrieve", "data", "--top", "0"]]
)
def test_values_out_of_range_are_misuse(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
