"""`mmil embed`: the features that the commands use, in Parquet and NumPy, with memory that does not grow."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

BLOCK = 40


@pytest.fixture(scope="module")
def files(tiny_dataset, tiny_run, tmp_path_factory):
    """Both files of the whole dataset, written in several blocks."""
    from mmil_cli.stages import embed, evaluation

    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "FILMS_IN_BLOCK", BLOCK)
        for ending in ("parquet", "npz"):
            embed.run(
                tiny_dataset,
                folder / f"all.{ending}",
                checkpoint=tiny_run,
                regions=True,
                device="cpu",
            )
    return folder


@pytest.fixture(scope="module")
def table(files):
    return pq.read_table(files / "all.parquet")


@pytest.fixture(scope="module")
def arrays(files):
    with np.load(files / "all.npz", allow_pickle=False) as found:
        return dict(found)


def rows_of(table, name):
    return np.array(table.column(name).to_pylist(), np.float32)


def test_ids_are_those_of_the_dataset(table, arrays, tiny_dataset):
    from mmil_cli.data.dataset import StudyDataset

    dataset = StudyDataset.open(tiny_dataset)
    assert len(table) == len(dataset) > 2 * BLOCK
    for name in ("image_id", "study_id", "patient_id", "split", "view"):
        assert table.column(name).to_pylist() == dataset.column(name).tolist() == arrays[name].tolist()


def test_the_file_grows_by_a_row_group_a_block(files, table):
    assert pq.ParquetFile(files / "all.parquet").num_row_groups == -(-len(table) // BLOCK)
    assert {path.name for path in files.iterdir()} == {"all.parquet", "all.npz"}


def test_features_of_films_are_those_of_the_model(table, arrays, tiny_dataset, tiny_run):
    import mmil_cli
    from mmil_cli.data.dataset import StudyDataset

    dataset = StudyDataset.open(tiny_dataset)
    places = [0, BLOCK, len(dataset) - 1]
    expected = mmil_cli.load(tiny_run, device="cpu").embed_images([dataset.pixels(row) for row in places])
    for name, wanted in (("pooled", expected.pooled), ("image", expected.embedding)):
        np.testing.assert_allclose(rows_of(table, name)[places], wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(rows_of(table, name), arrays[name])
        assert arrays[name].dtype == np.float32
    np.testing.assert_allclose(arrays["regions"][places], expected.regions, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(arrays["mask"][places], expected.mask)
    flat = rows_of(table, "regions").reshape(arrays["regions"].shape)
    np.testing.assert_array_equal(flat, arrays["regions"])


def test_features_of_texts_are_those_of_the_model(table, arrays, tiny_run):
    import mmil_cli

    model = mmil_cli.load(tiny_run, device="cpu")
    texts = arrays["sentence_text"].tobytes().decode().split("\n")
    assert len(set(texts)) == len(texts) == len(arrays["sentence"])
    for row in (0, BLOCK + 1, len(table) - 1):
        sentences = table.column("sentences")[row].as_py()
        expected = model.embed_texts([sentences])
        np.testing.assert_allclose(arrays["report"][row], expected.embedding[0], atol=1e-5)
        held = arrays["report_sentences"][slice(*arrays["report_offsets"][row : row + 2])]
        assert [texts[place] for place in held] == sentences
        wanted = expected.sentences[expected.index[0]]
        np.testing.assert_allclose(arrays["sentence"][held], wanted, atol=1e-5)
        found = np.array(table.column("sentence_features")[row].as_py(), np.float32)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(rows_of(table, "report"), arrays["report"], atol=1e-5)


def test_both_say_what_they_rest_on(table, arrays, tiny_dataset, tiny_run):
    import hashlib

    from mmil_cli.data.info import read_info

    found = json.loads(table.schema.metadata[b"mmil"])
    assert found == json.loads(str(arrays["provenance"]))
    weights = (tiny_run / "checkpoint" / "model.safetensors").read_bytes()
    assert found["checkpoint"]["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert found["dataset"]["content_hash"] == read_info(tiny_dataset).content_hash
    assert found["versions"]["mmil"]
    assert found["options"] == {"regions": True}


@pytest.mark.parametrize("ending", ["parquet", "npz"])
def test_films_without_reports_have_no_features_of_texts(ending, tiny_table, tiny_run, tmp_path):
    from mmil_cli.data.sources.options import SourceOptions
    from mmil_cli.stages import embed, preprocess

    options = SourceOptions(labels_only=True)
    preprocess.run(tiny_table, tmp_path / "films", side=64, source_options=options)
    out = tmp_path / "deep" / f"films.{ending}"
    result = embed.run(tmp_path / "films", out, checkpoint=tiny_run, split="validate", device="cpu")
    assert result.num_texts == 0
    if ending == "npz":
        with np.load(out) as found:
            assert np.isnan(found["report"]).all()
            assert "regions" not in found
            assert found["sentence"].shape == (0, result.dim)
            assert set(found["split"]) == {"validate"}
    else:
        found = pq.read_table(out)
        assert found.column("report").null_count == len(found) == result.num_films
        assert found.column("sentences").to_pylist() == [[]] * len(found)
        assert "regions" not in found.column_names


def test_the_command_says_what_it_wrote(tiny_dataset, tiny_run, tmp_path):
    from mmil_cli.cli.app import app

    out = tmp_path / "features.npz"
    arguments = ["embed", tiny_dataset, "--checkpoint", tiny_run, "--split", "test", "--out", out]
    outcome = CliRunner().invoke(app, list(map(str, arguments)))
    assert outcome.exit_code == 0, outcome.output
    assert outcome.stdout.splitlines()[-1] == f"written: {out}"
    with np.load(out) as found:
        assert outcome.stdout.startswith(f"{len(found['image_id'])} films: ")


def test_another_ending_is_refused_before_the_work(tmp_path):
    from mmil_cli.errors import UsageError
    from mmil_cli.stages import embed

    with pytest.raises(UsageError, match=r"must end in \.parquet or \.npz"):
        embed.run(tmp_path, tmp_path / "features.csv", checkpoint=tmp_path)


def test_a_fault_on_the_way_leaves_the_older_file(tiny_dataset, tiny_run, tmp_path, monkeypatch):
    from mmil_cli.stages import embed, evaluation

    class PlugPulled(Exception):
        pass

    def pull(done, total):
        if done > BLOCK:  # a block is written
            raise PlugPulled

    monkeypatch.setattr(evaluation, "FILMS_IN_BLOCK", BLOCK)
    for ending in ("parquet", "npz"):
        out = tmp_path / f"features.{ending}"
        out.write_text("older")
        with pytest.raises(PlugPulled):
            embed.run(tiny_dataset, out, checkpoint=tiny_run, device="cpu", on_progress=pull)
        assert out.read_text() == "older"
    assert len(list(tmp_path.iterdir())) == 2
