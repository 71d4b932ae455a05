import pytest

from mmil_cli.viz.tables import number, percent, with_interval

NAN = float("nan")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (with_interval(0.834, 0.789, 0.8651), "0.83 [0.79, 0.87]"),
        (with_interval(12.34, 11.0, 13.0, digits=1), "12.3 [11.0, 13.0]"),
        (with_interval(0.5, NAN, NAN), "0.50"),
        (with_interval(NAN, 0.1, 0.2), "–"),
        (with_interval(0.01, -0.001, 0.02), "0.01 [0.00, 0.02]"),
        (number(-0.2), "-0.20"),
        (number(NAN), "–"),
        (percent(0.834), "83 %"),
        (percent(0.8345, digits=1), "83.5 %"),
        (percent(NAN), "–"),
    ],
)
def test_numbers_as_people_read_them(written: str, expected: str) -> None:
    assert written == expected
