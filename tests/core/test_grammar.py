"""Score expressions: what they say, and where they stop making sense."""

import pytest
from score_parts import DIM


def build(expression, **options):
    from mmil_cli.core.build_score import build_score

    return build_score(expression, dim=DIM, **options)


def test_an_expression_is_parsed_term_by_term():
    from mmil_cli.core.grammar import parse

    first, second = parse(" lse( gamma = 1e1 ) + nl ")
    assert (first.aggregator.name, first.aggregator.arguments) == ("lse", {"gamma": 10.0})
    assert (second.aggregator.name, second.aggregator.arguments) == ("nl", {})
    assert (first.objective, second.objective) == (None, None)
    assert (first.aggregator.position, second.aggregator.position) == (1, 22)


def test_a_term_may_have_an_objective_with_arguments():
    from mmil_cli.core.grammar import parse

    first, second = parse("lse:infonce(image_to_text=1) + max : dv")
    assert (first.objective.name, first.objective.arguments) == ("infonce", {"image_to_text": 1.0})
    assert (second.aggregator.name, second.objective.name) == ("max", "dv")


def test_a_value_may_be_a_call_a_word_or_a_number():
    from mmil_cli.core.grammar import Call, parse

    (term,) = parse("nl(gamma=learned(start=5, low=1), similarity=learned, weight=.5)")
    assert term.aggregator.arguments == {
        "gamma": Call(name="learned", arguments={"start": 5.0, "low": 1.0}, position=9),
        "similarity": "learned",
        "weight": 0.5,
    }


@pytest.mark.parametrize(
    ("written", "number"),
    [("5", 5.0), ("-2", -2.0), ("+3.5", 3.5), (".25", 0.25), ("4.", 4.0), ("1e-2", 0.01), ("2E3", 2000.0)],
)
def test_numbers_are_read_as_anybody_writes_them(written, number):
    from mmil_cli.core.grammar import parse_call

    assert parse_call(f"f(x={written})").arguments == {"x": number}


def test_names_may_have_hyphens_and_digits():
    from mmil_cli.core.grammar import parse

    assert [term.aggregator.name for term in parse("top-k(k=3)+noisy-or+a2")] == ["top-k", "noisy-or", "a2"]


@pytest.mark.parametrize(
    ("expression", "position", "says"),
    [
        ("lsee", 0, "did you mean 'lse'"),
        ("lsee", 0, "unknown aggregator 'lsee'.*known: attention, cross-attention, "),
        ("lse + nll", 6, "did you mean 'nl'"),
        ("lse+lse", 4, "twice"),
        ("lse(gama=3)", 0, "did you mean 'gamma'.; it takes: gamma, temperature, weight"),
        ("max + mean(gamma=3)", 6, "mean has no argument 'gamma'; it takes: temperature, weight"),
        ("lse(temprature=1)", 0, "did you mean 'temperature'"),
        ("lse(gamma=-1)", 0, "lse: gamma must be a number from 0.01 to 1e\\+06, not -1"),
        ("lse(gamma=1e400)", 0, "not inf"),
        ("lse(gamma=soft)", 0, "must be a number, learned or auto, not 'soft'"),
        ("lse(gamma=lerned)", 0, "did you mean 'learned'"),
        ("lse(gamma=learned(begin=3))", 0, "takes numbers for start, low, high, not 'begin'"),
        ("lse(gamma=learned(start=soon))", 0, "takes numbers for start, low, high, not 'start'"),
        ("lse(gamma=auto(reports=3))", 0, "takes numbers for regions, low, high, not 'reports'"),
        ("lse(gamma=1,gamma=2)", 12, "twice"),
        ("lse(gamma)", 9, "expected '=' after 'gamma'"),
        ("lse(", 4, "expected an argument"),
        ("lse()", 4, "expected an argument"),
        ("lse(gamma=", 10, "expected a value for 'gamma'"),
        ("lse(gamma=5", 11, "expected ',' or '\\)'"),
        ("lse(gamma=5x)", 11, "expected ',' or '\\)'"),
        ("lse(gamma=learned(start=5)", 26, "expected ',' or '\\)'"),
        ("lse)", 3, "expected '\\+' or the end"),
        ("lse nl", 4, "expected '\\+' or the end"),
        ("lse+", 4, "expected the name of an aggregator"),
        ("", 0, "expected the name of an aggregator"),
        ("+lse", 0, "expected the name of an aggregator"),
        ("5", 0, "expected the name of an aggregator"),
        ("lse+*", 4, "unexpected '\\*'"),
        ("lse +  *", 7, "unexpected '\\*'"),
        ("lse:", 4, "expected the name of an objective"),
        ("lse:infonc", 4, "unknown objective 'infonc'; did you mean 'infonce'"),
        ("lse:infonce(image_to_text=2)", 4, "infonce: image_to_text must be between 0 and 1"),
        ("max+lse:infonce(weight=1)", 8, "infonce has no argument 'weight'"),
        ("top-k(k=many)", 0, "top-k: k must be a whole number, not 'many'"),
        ("top-k(k=learned(start=1))", 0, "top-k: k must be a whole number, not 'learned'"),
        ("top-k(k=2.5)", 0, "top-k: k must be a whole number, not 2.5"),
        ("nl(similarity=5)", 0, "nl: similarity must be a word, not 5"),
        ("lse(weight=0)", 0, "weight of a term must be a finite number above 0"),
        ("lse(weight=1e400)", 0, "weight of a term must be a finite number above 0"),
        ("lse(weight=learned)", 0, "lse: weight must be a number"),
        ("max+lse(temperature=0)", 4, "a temperature must lie between 0.01 and 10, not 0"),
        ("lse(temperature=learned(low=0.5,start=0.2))", 0, "<= high must hold, not low=0.5, start=0.2"),
        ("lse(temperature=auto(reports=0.5))", 0, "the wanted effective number must be 1 or more"),
    ],
)  # fmt: skip
def test_a_wrong_expression_is_pointed_at(expression, position, says):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says) as caught:
        build(expression)
    assert str(caught.value).endswith(f"\n  {expression}\n  {' ' * position}^")
    assert str(caught.value).count("^") == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"critic": "cosin"}, "unknown critic 'cosin'; did you mean 'cosine'"),
        ({"critic": "mlp(hiden=3)"}, "mlp has no argument 'hiden'; did you mean 'hidden'"),
        ({"critic": "cosine+mlp"}, "expected the end"),
        ({"sentences": "first"}, "unknown sentence aggregator 'first'.*known: lse, max, mean, one"),
        ({"objective": "dv(bias=1)"}, "dv has no argument 'bias'; it takes: none"),
        ({"objective": ""}, "expected a name"),
        ({"temperature": "learned(start=0.1"}, "expected ',' or '\\)'"),
        ({"temperature": "warm"}, "temperature must be a number, learned or auto, not 'warm'"),
    ],
)
def test_the_other_parts_of_a_score_are_named_in_their_errors(options, says):
    from mmil_cli.errors import UsageError

    with pytest.raises(UsageError, match=says):
        build("lse", **options)


def test_arguments_reach_the_parts():
    from mmil_cli.core.losses import OBJECTIVES

    score = build(
        "lse(gamma=12, weight=0.25, temperature=0.5)+max:hinge(margin=0.7)",
        critic="mlp(hidden=9, second=4)",
        sentences="lse(gamma=3)",
        objective="sigmoid(bias=-4)",
        temperature=0.2,
        learn_temperature=False,
    )
    lse, best = score.terms["lse"], score.terms["max"]
    assert lse.aggregator.gamma().item() == 12
    assert lse.weight == 0.25
    assert lse.logit_scale.item() == pytest.approx(2)
    assert isinstance(lse.objective, OBJECTIVES["sigmoid"])
    assert lse.objective.bias.item() == -4
    assert best.weight == 1
    assert best.logit_scale.item() == pytest.approx(5)
    assert best.objective.margin == 0.7
    assert score.critic.second.weight.shape == (4, 9)
    assert score.critic.region.in_features == DIM
    assert score.sentence_aggregator.gamma().item() == 3
    assert [name for name, _ in score.named_parameters() if name.endswith("log_value")] == []
