"""The demo: every stage in turn, a page that stands alone, a second call that redoes nothing."""

import json
import re

import pytest


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    """A demo of few studies; too few to learn from, enough to go the whole way."""
    from mmil_cli.stages.demo import run

    folder = tmp_path_factory.mktemp("demo") / "out"
    run(folder, studies=60, seed=0, device="cpu", on_stage=lambda name, unit: lambda done, total: None)
    return folder


def test_the_summary_has_every_figure_beside_its_floor(demo_folder):
    rows = json.loads((demo_folder / "summary.json").read_text())
    assert {row["metric"] for row in rows} >= {"R@5", "pointing game", "CNR", "pixel AUROC"}
    assert {row["floor_name"] for row in rows} == {"chance", "shuffled phrases", "location prior"}
    assert {row["task"].split()[0] for row in rows} >= {
        "linear",
        "zero-shot",
        "image",
        "report",
        "grounding,",
    }
    assert all(isinstance(row["is_above"], bool) for row in rows)


def test_the_page_stands_alone(demo_folder):
    page = (demo_folder / "index.html").read_text()
    assert "Generated studies" in page
    assert page.count("data:image/png;base64,") >= 6
    assert not re.search(r"(src|href)=[\"']https?:", page)
    assert "<script" not in page


def test_the_checkpoint_serves_ground(demo_folder, tmp_path):
    from mmil_cli.stages.ground import run

    film = next((demo_folder / "studies").glob("files/*/*/*/*.dcm"))
    result = run(film, ["pleural effusion"], checkpoint=demo_folder / "run", out=tmp_path)
    assert result.picture.is_file()


def test_what_is_done_is_not_redone(demo_folder):
    from mmil_cli.stages.demo import run

    weights = demo_folder / "run" / "checkpoint" / "model.safetensors"
    before = weights.stat().st_mtime_ns, (demo_folder / "summary.json").read_bytes()
    result = run(
        demo_folder, studies=60, seed=0, device="cpu", on_stage=lambda name, unit: lambda done, total: None
    )
    assert (weights.stat().st_mtime_ns, (demo_folder / "summary.json").read_bytes()) == before
    assert result.page.is_file()


def test_a_folder_of_another_demo_is_refused(demo_folder):
    from mmil_cli.errors import MmilError
    from mmil_cli.stages.demo import run

    with pytest.raises(MmilError):
        run(
            demo_folder,
            studies=61,
            seed=0,
            device="cpu",
            on_stage=lambda name, unit: lambda done, total: None,
        )


@pytest.mark.parametrize(
    ("low", "floor", "difference", "above"),
    [
        (0.6, 0.5, None, True),
        (0.4, 0.5, None, False),
        (0.4, 0.5, 0.1, True),
        (0.9, 0.5, -0.1, False),
        (float("nan"), 0.5, None, False),
    ],
)
def test_above_means_by_more_than_the_interval(low, floor, difference, above):
    from mmil_cli.metrics.intervals import Interval
    from mmil_cli.stages.demo_summary import SummaryRow

    row = SummaryRow(
        task="t",
        metric="m",
        value=Interval(0.95, low, 1.0),
        floor_name="chance",
        floor=floor,
        difference=None if difference is None else Interval(0.3, difference, 0.5),
    )
    assert row.is_above is above
