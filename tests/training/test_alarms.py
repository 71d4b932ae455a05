"""Warnings of a run that goes nowhere: when, how often, and with what to do."""

import pytest

WELL = {"loss": 1.0, "chance_loss": 3.0, "image_spread": 0.3, "text_spread": 0.3}
GRADIENTS = {"image": 1.0, "text": 1.0}


def alarms(num_steps=1000, warmup_steps=50):
    from mmil_cli.training.alarms import Alarms

    return Alarms(num_steps=num_steps, warmup_steps=warmup_steps)


def warnings_of(number, values=WELL, gradients=GRADIENTS, first=500):
    found = alarms()
    return [text for step in range(number) for text in found.training(first + step, values, gradients)]


def test_a_run_that_learns_is_told_nothing():
    assert warnings_of(10) == []


@pytest.mark.parametrize(
    ("values", "gradients", "told"),
    [
        ({**WELL, "loss": 2.99}, GRADIENTS, "the loss stays at what guessing costs"),
        ({**WELL, "loss": 0.001, "chance_loss": 0.0}, GRADIENTS, "the loss stays at what guessing costs"),
        ({**WELL, "image_spread": 1e-4}, GRADIENTS, "all films have nearly the same embedding"),
        ({**WELL, "text_spread": 1e-4}, GRADIENTS, "all sentences have nearly the same embedding"),
        (WELL, {"image": 0.0, "text": 1.0}, "the image tower gets no gradient"),
        (WELL, {"text": 0.0}, "the text tower gets no gradient"),
    ],
)
def test_what_lasts_is_told_once_with_the_next_step(values, gradients, told):
    assert warnings_of(2, values, gradients) == []
    (text,) = warnings_of(10, values, gradients)
    assert text.startswith(told)
    assert "; " in text


def test_what_passes_is_not_told():
    found, lines = alarms(), [{**WELL, "loss": 3.0}, {**WELL, "loss": 3.0}, WELL] * 4
    assert not [
        text for step, line in enumerate(lines) for text in found.training(500 + step, line, GRADIENTS)
    ]


def test_a_model_has_time_to_learn():
    values = {**WELL, "loss": 3.0, "image_spread": 0.0}
    assert warnings_of(100, values, first=100) == []
    assert warnings_of(4, WELL, {"image": 0.0}, first=1) != []  # no gradient is no matter of time
    assert alarms().validation(249, {"loss": 3.0, "chance_loss": 3.0}) == []
    assert len(alarms().validation(251, {"loss": 3.0, "chance_loss": 3.0})) == 1
    assert len(alarms(num_steps=40, warmup_steps=2).validation(11, {"loss": 3.0, "chance_loss": 3.0})) == 1


def test_a_loss_without_a_chance_is_not_compared():
    assert warnings_of(10, {"loss": 3.0}) == []
