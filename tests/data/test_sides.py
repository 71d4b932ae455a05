"""Mirror images: films, covers and the words of their reports."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("Left effusion.", "Right effusion."),
        ("RIGHT upper lobe, left base; Left", "LEFT upper lobe, right base; Right"),
        ("Left-sided port, right-sided line", "Right-sided port, left-sided line"),
        ("leftward shift, rightmost rib", "rightward shift, leftmost rib"),
        ("Bilateral, upright, cleft, lefty, brighter", "Bilateral, upright, cleft, lefty, brighter"),
        ("left to right", "right to left"),
        ("", ""),
    ],
)
def test_sides_change_and_nothing_else(text, mirrored):
    from mmil_cli.data.sides import swap_sides

    assert swap_sides(text) == mirrored
    assert swap_sides(mirrored) == text


def test_a_share_of_the_studies_turns_by_seed_and_step():
    from mmil_cli.data.sides import is_turned

    def turned(share, seed=0, step=0):
        return [is_turned(share, seed=seed, step=step, study=f"s{number}") for number in range(2000)]

    assert not any(turned(0.0))
    assert all(turned(1.0))
    assert np.mean(turned(0.3)) == pytest.approx(0.3, abs=0.04)
    assert turned(0.3) == turned(0.3)
    assert turned(0.3) != turned(0.3, step=1)
    assert turned(0.3) != turned(0.3, seed=1)


def test_a_turned_film_is_the_mirror_image_with_its_cover_and_its_way_back():
    from mmil_cli.data.fit import fit_film
    from mmil_cli.data.sides import turned_film

    pixels = np.random.default_rng(0).integers(0, 256, (20, 33), dtype=np.uint8)
    film = fit_film(pixels, size=32, fit="pad")
    turned = turned_film(film)
    assert (turned.pixels == film.pixels[:, ::-1]).all()
    assert turned.cover == (1 - film.cover[2], film.cover[1], 1 - film.cover[0], film.cover[3])
    for x in (0.0, 7.5, 32.0):
        stored, mirrored = (way.scale_x * place + way.offset_x
                            for way, place in ((film.to_stored, x), (turned.to_stored, 32 - x)))  # fmt: skip
        assert mirrored == pytest.approx(stored)


def test_a_reader_turns_film_words_and_text_of_a_study_together(tiny_table_dataset):
    from mmil_cli.data.batches import Collate, PairReader
    from mmil_cli.data.sides import is_turned, swap_sides
    from mmil_cli.data.studies import one_film_bags

    dataset, tokenizer = tiny_table_dataset
    bags = one_film_bags(np.arange(len(dataset)))
    options = {"bags": bags, "size": 32, "fit": "pad", "max_sentences": 9, "unit": "sentence", "seed": 1}
    plain, flipping = (PairReader(dataset, **options, flip=flip) for flip in (0.0, 0.5))
    keys = [(3, row) for row in range(12)]
    turned = [is_turned(0.5, seed=1, step=3, study=dataset.row(row).study_id) for _, row in keys]
    assert 0 < sum(turned) < len(keys)
    for key, is_mirrored in zip(keys, turned, strict=True):
        before, after = plain[key], flipping[key]
        if is_mirrored:
            assert (after.films[0].pixels == before.films[0].pixels[:, ::-1]).all()
            assert after.sentences == tuple(map(swap_sides, before.sentences))
            assert after.row.text_key == swap_sides(before.row.text_key)
        else:
            assert (after.films[0].pixels == before.films[0].pixels).all()
            assert (after.sentences, after.row.text_key) == (before.sentences, before.row.text_key)
    batch = Collate(tokenizer)([flipping[key] for key in keys])
    for number, (place, is_mirrored) in enumerate(zip(batch.sentence_index, turned, strict=True)):
        read = [decoded(tokenizer, batch.tokens[row]) for row in place if row >= 0]
        wanted = [text.lower() for text in plain[keys[number]].sentences]
        assert read == [swap_sides(text) if is_mirrored else text for text in wanted]
    assert len(set(batch.sentence.tolist())) == len(batch.tokens)


def decoded(tokenizer, tokens):
    return tokenizer.tokenizer.decode(tokens.tolist())


@pytest.fixture
def tiny_table_dataset(tmp_path):
    """Twelve films of six studies with sides in their reports, half of them of the same words."""
    from PIL import Image

    from mmil_cli.data.dataset import StudyDataset
    from mmil_cli.data.tokenizer import SentenceTokenizer, learn_wordpiece
    from mmil_cli.stages import preprocess

    generator, lines = np.random.default_rng(0), ["image,report,patient_id,study_id,split"]
    for number in range(12):
        Image.fromarray(generator.integers(0, 255, (32, 24), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        side = ("left", "right")[number // 2 % 2]
        report = f"FINDINGS: Large {side} effusion. The {side} apex is clear. No fracture."
        lines.append(f"{number}.png,{report},p{number // 2},s{number // 2},train")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    preprocess.run(tmp_path / "table.csv", tmp_path / "data", side=32)
    dataset = StudyDataset.open(tmp_path / "data")
    texts = [sentence for row in range(12) for sentence in dataset.row(row).sentences]
    tokenizer = learn_wordpiece([*texts, *texts], vocabulary_size=300)
    return dataset, SentenceTokenizer(tokenizer, max_tokens=40)
