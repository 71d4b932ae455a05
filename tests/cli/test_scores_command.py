"""`mmil scores` lists every registered part."""

from typer.testing import CliRunner


def invoke(*arguments):
    from mmil_cli.cli.app import app

    return CliRunner().invoke(app, ["scores", *arguments])


def test_lists_every_part_of_every_registry_with_equation_and_source():
    from mmil_cli.config.presets import PRESETS
    from mmil_cli.core.aggregators import AGGREGATORS
    from mmil_cli.core.critics import CRITICS
    from mmil_cli.core.losses import OBJECTIVES
    from mmil_cli.core.sentences import SENTENCE_AGGREGATORS

    result = invoke()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    for registry in (AGGREGATORS, CRITICS, SENTENCE_AGGREGATORS, OBJECTIVES):
        for name, part in registry.items():
            shown = [line for line in lines if line.startswith(f"{name} ") and part.equation in line]
            assert shown, name
            assert any(part.source in line for line in shown), name
    for name, preset in PRESETS.items():
        assert any(line.startswith(f"{name} ") and preset.source in line for line in lines), name


def test_shows_arguments_with_their_defaults_and_none_that_nobody_can_give():
    output = invoke().output
    assert "gamma=5, similarity=identity" in output
    assert "margin=0.2, negatives=hardest" in output
    assert "args=" not in output
    assert "dim=" not in output


def test_a_name_is_described_in_full():
    from mmil_cli.core.aggregators.lse import LogSumExp

    result = invoke("lse")
    assert result.exit_code == 0
    assert LogSumExp.__doc__.splitlines()[0] in result.output
    assert "score.objective=infonce" in invoke("clip").output


def test_an_unknown_name_is_misuse_and_the_nearest_is_told():
    from mmil_cli.errors import UsageError

    result = invoke("glorai")
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert "did you mean 'gloria'" in str(result.exception)
