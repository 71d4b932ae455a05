import io
import math

import numpy as np
import pytest
from PIL import Image

from mmil_cli.viz.plots import Bar, curves, interval_bars


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def history() -> list[dict[str, object]]:
    train: list[dict[str, object]] = [
        {"kind": "train", "step": s, "loss": 5 / s, "learning_rate": 1e-4} for s in range(1, 40)
    ]
    validate: list[dict[str, object]] = [
        {"kind": "validate", "step": s, "loss": 6 / s, "image_to_text_r@5": s / 50, "median_rank": 4}
        for s in (10, 20, 39)
    ]
    return [*train, *validate]


def test_curves_draw_loss_and_recall_side_by_side() -> None:
    both = curves(history())
    only_loss = curves([{k: v for k, v in entry.items() if k != "image_to_text_r@5"} for entry in history()])
    assert size(both)[0] > 1.5 * size(only_loss)[0]


def test_curves_follow_the_numbers_and_pass_over_the_rest() -> None:
    entries = history()
    changed = [{**entry, "learning_rate": 1.0} for entry in entries]
    assert curves(entries) == curves(changed)
    changed = [{**entry, "loss": 1.0} for entry in entries]
    assert curves(entries) != curves(changed)


@pytest.mark.parametrize(
    "entries", [[], [{"step": 1, "loss": math.nan}], [{"step": 1, "loss": None}], [{"step": 3, "loss": 2.0}]]
)
def test_curves_of_little_or_nothing(entries: list[dict[str, object]]) -> None:
    assert size(curves(entries))[0] > 100


def test_bars_grow_with_rows_and_long_names() -> None:
    one = size(interval_bars([Bar("effusion", 0.8, 0.7, 0.9, 0.5)]))
    three = size(interval_bars([Bar("effusion", 0.8, 0.7, 0.9, 0.5)] * 3))
    wide = size(interval_bars([Bar("enlarged cardiomediastinum $ " + "x " * 60, 0.8)]))
    assert three[1] > one[1]
    assert wide[0] > one[0]


def test_bars_show_interval_chance_and_undefined() -> None:
    pictures = [
        interval_bars([Bar("effusion", 0.8)]),
        interval_bars([Bar("effusion", 0.8, 0.7, 0.9)]),
        interval_bars([Bar("effusion", 0.8, 0.7, 0.9, 0.5)]),
        interval_bars([Bar("effusion", math.nan, chance=0.5)]),
    ]
    assert len(set(pictures)) == 4
    orange = [
        (np.asarray(Image.open(io.BytesIO(p)).convert("RGB")) == (213, 94, 0)).all(axis=2).any()
        for p in pictures
    ]
    assert orange == [False, False, True, True]


def test_the_same_input_gives_the_same_bytes() -> None:
    rows = [Bar("effusion", 0.8, 0.7, 0.9, 0.5)]
    assert interval_bars(rows, title="t", label="AUROC") == interval_bars(rows, title="t", label="AUROC")
    assert set(Image.open(io.BytesIO(curves(history()))).info) <= {"dpi"}
    assert interval_bars([])


def test_a_chance_level_is_drawn_but_takes_no_colour_from_the_measured() -> None:
    entries = history()
    with_chance = [
        {"chance_loss": 3.0, **entry} if entry["kind"] == "validate" else entry for entry in entries
    ]
    assert curves(with_chance) != curves(entries)
    orange = [
        (np.asarray(Image.open(io.BytesIO(curves(e))).convert("RGB")) == (213, 94, 0)).all(axis=2).sum()
        for e in (entries, with_chance)
    ]
    assert orange[1] == pytest.approx(orange[0], rel=0.3)
