"""The command line in the hands of a clumsy user: exit code, one sentence on stderr, nothing on stdout."""

import errno
import json
import shutil
import signal
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

TINY = tuple(
    f"--set={override}"
    for override in (
        "data.batch_size=4", "data.workers=0", "image.size=32", "image.widths=[4, 8]", "text.width=8",
        "text.heads=2", "text.layers=1", "projection.dim=8", "optim.epochs=1", "run.precision=fp32",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def mmil(monkeypatch, capsys):
    """Runs the command line in this process; anything but an exit passes through and fails the test."""
    from mmil_cli.cli.app import main

    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mmil", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return Outcome(code, *capsys.readouterr())

    yield run
    signal.signal(signal.SIGTERM, before)


def write_table(folder, text, *, name="table.csv"):
    generator = np.random.default_rng(0)
    for number in range(10):
        pixels = generator.integers(0, 255, (48, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines(*rows, header="image,report,patient_id,split"):
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from mmil_cli.stages.preprocess import run

    folder = tmp_path_factory.mktemp("data")
    rows = [f"{n}.png,Effusion of kind {'abcdefghij'[n]} on the left.,{n},train" for n in range(10)]
    run(write_table(folder, lines(*rows)), folder / "data", side=32)
    return folder / "data"


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    from mmil_cli.config.load import load_recipe
    from mmil_cli.stages.pretrain import run

    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = load_recipe(None, overrides=[text.removeprefix("--set=") for text in TINY])
    run(data, folder, recipe=recipe, device="cpu")
    return folder


@pytest.fixture
def film(data):
    return data.parent / "0.png"


def assert_refused(outcome, code, sentence):
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


TABLES = {
    "no row": (lines(), 1, "names columns but has no row"),
    "semicolons": (lines("0.png,x,0,train").replace(",", ";"), 1, "is separated by semicolons"),
    "pointer": ("version https://git-lfs.github.com/spec/v1\n", 1, "Git LFS pointer"),
    "no column": (lines("0.png,x", header="img,report"), 2, "no column 'image'; did you mean 'img'?"),
    "latin": (lines("0.png,Großer Erguß.,0,train").encode("latin-1"), 1, "not UTF-8"),
    "ids twice": (lines("0.png,Effusion.,0,train", "0.png,Effusion.,0,train"), 1, "more than once: 1 (0)"),
    "torn patient": (lines("0.png,Effusion.,p,train", "1.png,Effusion.,p,test"), 1, "p (test, train)"),
    "no image": (lines("77.png,Effusion.,0,train"), 1, "missing-file 1"),
    "no words": (lines("0.png,___,0,train"), 1, "empty-report 1"),
    "null in a name": (lines("a\0b.png,Effusion.,0,train"), 1, "unreadable 1"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used(mmil, tmp_path, case):
    text, code, sentence = TABLES[case]
    outcome = mmil("preprocess", write_table(tmp_path, text), "--out", tmp_path / "out", "--workers", 1)
    assert_refused(outcome, code, sentence)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ('{"image": "0.png"\n', "rows 1 are no JSON objects"),
        ('{"image": "0.png", "report": "Half a character \\ud800."}\n', "rows 1 are no JSON objects"),
        ("[" * 100_000, "rows 1 are no JSON objects"),
    ],
)
def test_json_lines_that_cannot_be_used(mmil, tmp_path, text, sentence):
    table = write_table(tmp_path, text, name="table.jsonl")
    assert_refused(mmil("preprocess", table, "--out", tmp_path / "out", "--workers", 1), 1, sentence)


def test_labels_other_than_labels_or_named_twice(mmil, tmp_path):
    table = write_table(tmp_path, lines("0.png,Effusion.,yes", header="image,report,Edema"))
    run = ("preprocess", table, "--out", tmp_path / "out", "--workers", 1, "--labels")
    assert_refused(mmil(*run, "Edema"), 1, "holds 'yes' in 1 rows")
    assert_refused(mmil(*run, "Edema,Edema"), 2, "names Edema more than once")


def test_a_column_without_a_name_is_no_finding(mmil, tmp_path):
    table = write_table(tmp_path, lines("0,0.png,Effusion.,1", header=",image,report,Edema"))
    assert "labels: Edema\n" in mmil("preprocess", table, "--out", tmp_path / "out", "--workers", 1).out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("phantm",), "Did you mean 'phantom'"),
        (("phantom", "--ot", "x"), "No such option: --ot"),
        (("phantom", "--out", "{new}", "--studies", 10**11), "ask for 1 to 1,000,000 studies"),
        (("preprocess", "{data}/../table.csv", "--out", "{new}", "--seed", "9" * 80), "--seed is 9"),
        (("pretrain", "{data}", "--out", "{data}", *TINY), "is a dataset folder"),
        (("pretrain", "{data}", "--out", "{new}", "--set", "optim.lrr=1"), "did you mean 'lr'?"),
        (("pretrain", "{data}", "--out", "{new}", "--set", "optim.lr=inf"), "optim.lr = inf"),
        (("pretrain", "{data}", "--out", "{new}", "--set", f"run.seed={2**63}"), "run.seed"),
        (("pretrain", "{data}", "--out", "{new}", *TINY, "--device", "meta"), "no device 'meta'"),
        (("pretrain", "{data}", "--out", "{new}", *TINY, "--score", ""), "expected the name"),
        (("pretrain", "{data}", "--out", "{new}", *TINY, "--score", "lse # nl"), "unexpected"),
        (("pretrain", "{data}", "--score", "lse", "--set", "score.expression=nl"), "same thing twice"),
        (("pretrain", "{data}", "--out", "{new}", *TINY, "--set", "image.layer=layer3"), "has none to cut"),
        (("pretrain", "{data}", "--out", "{new}", *TINY, "--set", "data.batch_size=99"), "has 10 films"),
        (("probe", "{data}", "--seed", 2**32), "--seed"),
        (("ground", "{film}", "...", "--checkpoint", "{run}"), "has no words"),
        (("ground", "{film}", "\udce9dema found", "--checkpoint", "{run}"), "is not UTF-8 text"),
        (("ground", "{film}", "edema", "--checkpoint", "{run}", "--out", "{data}/.."), "film's own folder"),
        (("retrieve", "{data}", "--text", "\udce9dema found", "--checkpoint", "{run}"), "is not UTF-8 text"),
        (("retrieve", "{data}", "--split", "tset", "--checkpoint", "{run}"), "has no split 'tset'"),
    ],
)  # fmt: skip
def test_misuse_exits_with_two_and_writes_nothing(mmil, data, trained, film, tmp_path, arguments, sentence):
    places = {"data": data, "run": trained, "film": film, "new": tmp_path / "new"}
    given = [text.format(**places) if isinstance(text, str) else text for text in arguments]
    outcome = mmil(*given)
    assert_refused(outcome, 2, sentence)
    assert not (tmp_path / "new").exists()


def damage(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def forget_a_tensor(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors.popitem()
    save_file(tensors, folder / "model.safetensors")


def spoil_a_tensor(folder):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    next(tensor for tensor in tensors.values() if tensor.is_floating_point()).fill_(float("nan"))
    save_file(tensors, folder / "model.safetensors")


def lose_the_contract(folder):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "image": None}))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (forget_a_tensor, "missing: "),
        (spoil_a_tensor, "not finite"),
        (lose_the_contract, "card.json is no card"),
        (damage("model.safetensors", b"\xff" * 99), "damaged or not safetensors"),
        (damage("card.json", b"{"), "card.json is no card"),
        (damage("recipe.yaml", b"\xff\xfe\0"), "recipe.yaml is damaged"),
        (damage("recipe.yaml", b"score: {expression: zzz}"), "copy or make the checkpoint again"),
        (damage("tokenizer/tokenizer.json", b"{"), "tokenizer.json is damaged"),
        (lambda folder: (folder / "card.json").unlink(), "card.json missing"),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_a_failure(mmil, trained, film, tmp_path, harm, sentence):
    folder = tmp_path / "checkpoint"
    shutil.copytree(trained / "checkpoint", folder)
    harm(folder)
    out = tmp_path / "out"
    assert_refused(mmil("ground", film, "edema", "--checkpoint", folder, "--out", out), 1, sentence)
    assert not out.exists()


@pytest.mark.parametrize("change", [{"shards": []}, {"encoding": "webp"}])
def test_a_damaged_dataset_is_a_failure(mmil, data, tmp_path, change):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert_refused(mmil("pretrain", tmp_path / "data", "--out", tmp_path / "run", *TINY), 1, "is damaged")


def test_a_checkpoint_is_found_from_inside_its_folder(mmil, trained, film, tmp_path, monkeypatch):
    monkeypatch.chdir(trained)
    assert mmil("ground", film, "effusion", "--checkpoint", ".", "--out", tmp_path).code == 0


def test_an_empty_variable_is_none(mmil, film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMIL_CHECKPOINT", "")
    assert_refused(mmil("ground", film, "effusion"), 2, "no checkpoint")


def test_a_phrase_that_is_cut_is_said_to_be(mmil, trained, film, data, tmp_path):
    phrase = "left effusion " * 60
    grounded = mmil("ground", film, phrase, "--checkpoint", trained, "--out", tmp_path)
    assert "the end does not count: 'left effusion" in grounded.err
    assert max(map(len, grounded.out.splitlines())) < 200
    assert json.loads((tmp_path / "0.json").read_text())["phrases"][0]["is_cut"]
    found = mmil("retrieve", data, "--text", phrase, "--checkpoint", trained, "--split", "train")
    assert "does not count" in found.err
    assert "count" not in mmil("ground", film, "effusion", "--checkpoint", trained, "--out", tmp_path).err


def test_a_wrong_option_beside_overwrite_leaves_the_old_run(mmil, data, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    command = ("pretrain", data, "--out", tmp_path / "run", *TINY, "--overwrite")
    assert_refused(mmil(*command, "--set=image.weights=nowhere.pth"), 2, "no file nowhere.pth")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(
        path.name for path in trained.iterdir()
    )


def test_what_a_failed_run_left_does_not_reach_another_one(mmil, data, tmp_path):
    """A run that ended before its first saved state leaves a tokenizer, which may be of another recipe."""
    small = "--set=text.vocabulary_size=50"
    assert mmil("pretrain", data, "--out", tmp_path / "run", *TINY, "--set=optim.lr=1e30").code == 1
    (tmp_path / "run" / "state.pt").unlink()
    for name in ("run", "fresh"):
        assert mmil("pretrain", data, "--out", tmp_path / name, *TINY, small).code == 0
    kept = [(tmp_path / name / "checkpoint/model.safetensors").read_bytes() for name in ("run", "fresh")]
    assert kept[0] == kept[1]


def test_a_dataset_is_not_replaced_with_files_of_others_in_it(mmil, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "notes.txt").write_text("mine")
    table = data.parent / "table.csv"
    outcome = mmil("preprocess", table, "--out", tmp_path / "data", "--workers", 1, "--overwrite")
    assert_refused(outcome, 2, "holds more than a dataset (notes.txt)")
    assert (tmp_path / "data" / "notes.txt").read_text() == "mine"


def test_a_file_where_a_folder_is_needed_is_told_before_the_work(mmil, trained, data, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = mmil("retrieve", data, "--split", "train", "--checkpoint", trained, "--out", tmp_path / "file")
    assert_refused(outcome, 1, "a file stands where a folder is needed")
    assert "films" not in outcome.err


@pytest.mark.parametrize(
    ("fault", "code", "sentence"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
        (MemoryError("12 GiB"), 1, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left", "x.png"), 1, "x.png: No space left; make room"),
    ],
)  # fmt: skip
def test_what_the_system_does_ends_in_one_sentence(mmil, film, trained, monkeypatch, fault, code, sentence):
    from mmil_cli.cli import app
    from mmil_cli.stages import ground

    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(ground, "run", fail)
    monkeypatch.setattr(app, "_let_go_of_output", lambda: None)
    assert_refused(mmil("ground", film, "edema", "--checkpoint", trained), code, sentence)


@pytest.mark.parametrize("written", ["state", "checkpoint"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, written):
    """As a full disk answers: what is written through Python's files fails with an OSError."""
    import torch

    from mmil_cli.training.state import Resumed, RunIdentity, save_state

    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    identity = RunIdentity(recipe="a", dataset_hash="b")

    def save(step):
        if written == "state":
            path, reached = tmp_path / "state.pt", Resumed(step=step)
            save_state(path, model=model, optimiser=optimiser, reached=reached, identity=identity)
        else:
            from test_checkpoint import save

            save(tmp_path / "checkpoint", tmp_path, model, step=step)

    save(1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
