"""The best of the validations, and when to give up."""

import math


def test_lower_losses_and_higher_shares_are_better():
    from mmil_cli.training.contest import Contest

    loss, recall = Contest(metric="loss"), Contest(metric="image_to_text_r@1")
    assert [loss.enter({"loss": value}) for value in (3.0, 2.0, 2.0, 2.5, 1.0)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    entered = [recall.enter({"image_to_text_r@1": value}) for value in (0.1, 0.1, 0.3, 0.2)]
    assert entered == [True, False, True, False]
    assert (loss.best, recall.best, recall.since) == (1.0, 0.3, 1)


def test_patience_counts_validations_without_a_better_one():
    from mmil_cli.training.contest import Contest

    contest, over = Contest(metric="loss", patience=2), []
    for value in (3.0, 3.5, 2.0, math.nan, 2.0):
        contest.enter({"loss": value})
        over.append(contest.is_over)
    assert over == [False, False, False, False, True]
    assert contest.best == 2.0


def test_without_patience_a_run_never_ends_early():
    from mmil_cli.training.contest import Contest

    contest = Contest(metric="loss")
    assert not any(contest.enter({}) or contest.is_over for _ in range(100))
