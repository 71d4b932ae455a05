"""A real Dask scheduler and two workers on loopback: the same dataset as without."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deadly import Killed
from source_files import table_rows, write_table

from mmil_cli.errors import UsageError
from mmil_cli.stages import preprocess
from mmil_cli.stages.preprocess import run

pytestmark = pytest.mark.usefixtures("time_limit")

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster that takes the first death of a worker for the fault of all that it had to do."""
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as cluster,
    ):
        yield cluster.scheduler_address


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_dataset_is_the_same_and_a_film_that_kills_workers_is_left_out(
    tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_table(tmp_path, table_rows(20))
    (tmp_path / "films/003.png").unlink()
    one = run(source, tmp_path / "one", workers=1, shard_rows=6)
    dask = run(source, tmp_path / "dask", scheduler=scheduler, shard_rows=6)
    assert one.info.content_hash == dask.info.content_hash
    assert content(tmp_path / "one") == content(tmp_path / "dask")
    monkeypatch.setattr(preprocess, "Conversion", Killed)
    run(source, tmp_path / "deadly", scheduler=scheduler, shard_rows=6)
    run(source, tmp_path / "deadly here", workers=2, shard_rows=6)
    assert content(tmp_path / "deadly") == content(tmp_path / "deadly here")
    assert ",crashed," in (tmp_path / "deadly/rejected.csv").read_text()


def test_an_address_where_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmil_cli.stages import dask_workers

    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 0.5)
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        run(write_table(tmp_path, table_rows(2)), tmp_path / "data", scheduler="tcp://127.0.0.1:9")


def test_workers_must_see_the_source(tmp_path: Path, scheduler: str) -> None:
    from mmil_cli.stages.dask_workers import DaskWorkers

    with pytest.raises(UsageError, match=r"[12] workers of the cluster .* do not see .*nowhere"):
        DaskWorkers(scheduler, tmp_path / "nowhere")
