"""Peak and boxes of a map."""

import numpy as np
import pytest

from mmil_cli.errors import UsageError
from mmil_cli.stages.similarity import check_threshold, find_boxes, find_peak


def two_hills() -> np.ndarray:
    rows, columns = np.indices((120, 90)) + 0.5
    high = np.exp(-((rows - 30.5) ** 2 + (columns - 20.5) ** 2) / 72)
    low = 0.8 * np.exp(-((rows - 90.5) ** 2 + (columns - 70.5) ** 2) / 72)
    return (high + low).astype(np.float32)


def test_the_peak_is_the_centre_of_the_highest_pixel() -> None:
    peak = find_peak(two_hills())
    assert peak is not None
    assert (peak.x, peak.y) == (20.5, 30.5)
    assert peak.value == pytest.approx(1.0, abs=1e-4)


def test_the_peak_of_a_plateau_is_a_pixel_in_its_middle() -> None:
    values = np.zeros((9, 9))
    values[2:5, 4:9] = 1
    peak = find_peak(values)
    assert peak is not None
    assert (peak.x, peak.y) == (6.5, 3.5)


def test_a_map_of_nothing_has_no_peak_and_no_box() -> None:
    values = np.full((4, 5), np.nan)
    assert find_peak(values) is None
    assert find_boxes(values) == ()


def test_boxes_surround_what_stands_out_the_highest_first() -> None:
    first, second = find_boxes(two_hills(), threshold=0.5)
    reach = 6 * np.sqrt(2 * np.log(2))  # half of the peak
    assert first.box == pytest.approx((20.5 - reach, 30.5 - reach, 2 * reach, 2 * reach), abs=1.1)
    assert first.value > second.value
    assert second.box[0] > 60
    assert second.box[1] > 80


def test_a_higher_threshold_gives_smaller_and_fewer_boxes() -> None:
    values = two_hills()
    (only,) = find_boxes(values, threshold=0.9)
    assert only.box[2] < find_boxes(values, threshold=0.5)[0].box[2]


def test_regions_below_the_smallest_are_left_out_but_never_that_of_the_peak() -> None:
    values = np.zeros((60, 60))
    values[5:8, 5:8], values[30:50, 30:50], values[10:12, 40:42] = 1.0, 0.9, 0.8
    assert len(find_boxes(values)) == 3
    assert [found.box for found in find_boxes(values, smallest=100)] == [(5, 5, 3, 3), (30, 30, 20, 20)]


def test_boxes_do_not_depend_on_the_scale_of_the_similarity() -> None:
    values = two_hills()
    moved = find_boxes(values * 0.3 - 0.2, threshold=0.6)
    assert [found.box for found in moved] == [found.box for found in find_boxes(values, threshold=0.6)]


def test_what_was_not_seen_is_in_no_box() -> None:
    values = two_hills()
    values[:, :20] = np.nan
    assert find_boxes(values)[0].box[0] == 20


def test_a_flat_map_has_no_box() -> None:
    assert find_boxes(np.full((30, 30), 0.7, np.float32)) == ()


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0, 1.5, float("nan")])
def test_a_threshold_outside_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold must lie between"):
        check_threshold(threshold)
