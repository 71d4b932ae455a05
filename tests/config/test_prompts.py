from pathlib import Path

import pytest

from mmil_cli.config import shipped
from mmil_cli.config.load import shipped_recipes
from mmil_cli.config.prompts import finding_key, load_prompts
from mmil_cli.errors import UsageError

CHEXPERT = {
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture",
    "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia",
    "Pneumothorax", "Support Devices",
}  # fmt: skip


FIVE = {"Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"}


def _names_of(prompts: str) -> set[str]:
    from mmil_cli.data.sources.nih import LABEL_NAMES
    from mmil_cli.phantom.digit_captions import DIGITS

    return {
        "chexpert": CHEXPERT,
        "chexpert5x200": FIVE,
        "digits": set(DIGITS),
        "nih": set(LABEL_NAMES),
        "rsna": {"Lung Opacity", "Normal", "Pneumonia"},
    }[prompts]


@pytest.mark.parametrize("source", shipped.shipped_files("prompts"))
def test_the_shipped_prompts_cover_the_findings_of_their_labels(source: str) -> None:
    prompts = load_prompts(source)
    assert set(prompts) == _names_of(source)
    for pair in prompts.values():
        assert len(pair.positive) >= 3
        assert len(pair.negative) >= 3
        assert not set(pair.positive) & set(pair.negative)


def test_prompts_are_no_recipe() -> None:
    assert "chexpert" not in shipped_recipes()


def test_shipped_files_are_found_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "mmil_cli"
    (package / "_recipes" / "prompts").mkdir(parents=True)
    (package / "_recipes" / "laptop.yaml").write_text("{}")
    (package / "_recipes" / "prompts" / "mine.yaml").write_text(
        "A: {positive: [There is A.], negative: [No A.]}"
    )
    monkeypatch.setattr(shipped.resources, "files", lambda name: package)
    assert set(shipped_recipes()) == {"laptop"}
    assert load_prompts("mine")["A"].negative == ("No A.",)
    assert shipped.shipped_files("nothing") == {}


def test_spellings_of_a_finding_are_one() -> None:
    assert (
        finding_key("Pleural Effusion") == finding_key("pleural_effusion") == finding_key("PLEURALEFFUSION")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold findings"),
        ("[a, b]", "must hold findings"),
        ("A: [", "cannot be read as YAML"),
        ("A: {positive: [Seen.], negatve: [Not seen.]}", "A: unknown key 'negatve'; did you mean 'negative'"),
        ("A: {positive: [Seen.]}", "A: `negative:` must list at least one sentence"),
        ("A: {positive: [Seen.], negative: []}", "A: `negative:` must list at least one sentence"),
        ("A: {positive: ['...'], negative: [Not seen.]}", "A: `positive:` lists '...', which is no sentence"),
        ("A: Seen.", "A: must hold the lists"),
        (
            "A b: {positive: [Seen.], negative: [No.]}\na_B: {positive: [Seen.], negative: [No.]}",
            "more than once",
        ),
    ],
)
def test_unusable_prompts_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        load_prompts(path)
    assert message in str(refused.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text("A: Seen.\nB: {positive: [Seen.]}")
    with pytest.raises(UsageError, match=r"(?s)A: .*B: "):
        load_prompts(path)
