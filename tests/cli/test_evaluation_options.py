import pytest
import typer
from typer.testing import CliRunner

from mmil_cli.cli.probe import probe
from mmil_cli.cli.retrieve import retrieve
from mmil_cli.errors import MmilError, UsageError

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "i"], "nothing is asked"),
        (["--index", "i", "--image", "film.png", "--fast"], "--fast is for --text"),
        (["--index", "i", "--text", "edema", "--faiss"], "--faiss is for --like"),
        (["--index", "nowhere", "--text", "edema"], "is no index"),
    ],
)
def test_a_query_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    from mmil_cli.cli.app import app as mmil

    result = CliRunner().invoke(mmil, ["retrieve", "query", *arguments])
    assert isinstance(result.exception, MmilError)
    assert message in str(result.exception)


def test_a_dataset_is_measured_where_no_subcommand_is_named() -> None:
    from mmil_cli.cli.app import app as mmil

    for arguments in (
        ["retrieve", "nowhere", "--top", "3"],
        ["retrieve", "measure", "nowhere", "--top", "3"],
    ):
        result = CliRunner().invoke(mmil, arguments)
        assert "--top is for a query" in str(result.exception)
    help_of_group = CliRunner().invoke(mmil, ["retrieve", "--help"]).output
    assert all(name in help_of_group for name in ("measure", "index", "query"))
