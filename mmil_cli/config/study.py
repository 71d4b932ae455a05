"""The schema of a study: what is run, and the claims that it decides, written down before the run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from mmil_cli.config.load import read_tree
from mmil_cli.config.recipe import Section
from mmil_cli.config.shipped import find_shipped
from mmil_cli.errors import UsageError, nearest

FOLDER = "studies"
Setting = str | int | float | bool | None | list[Any]
Settings = dict[str, Setting]


def _listed(value: Any) -> Any:
    """One name as a list of one."""
    return (value,) if isinstance(value, str) else value


def _counted(value: Any) -> Any:
    """A number of seeds as the seeds 0, 1, ..."""
    return tuple(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_counted)]
Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"\S")]


class DataEntry(Section):
    """Data that all cells of a table are run on; every data has tables and verdicts of its own."""

    kind: str = Field(description="generated, dataset (given with --data), ...")
    title: str = Field(description="what it is, in the title of each of its tables")
    set: Settings = Field({}, description="settings of the data")
    cells: Settings = Field({}, description="settings of the cells on it, of the study's kind")
    arms: Names = Field(
        (), description="run on it and nowhere else; none for all that no other data has for itself"
    )
    split: str = Field("test", description="that is scored")
    boxes_split: str = Field("", description="that is grounded in; empty for the same")
    optional: bool = Field(False, description="left out where --data does not give it")


class Arm(Section):
    """One thing that is compared, or with a grid one for each combination of its values."""

    name: Name
    kind: str | None = Field(None, description="of its cells; null for the study's")
    set: Settings = Field({}, description="its settings")
    grid: dict[str, list[Setting]] = Field({}, description="settings with the values to try, as a product")
    floor: bool = Field(
        False, description="shown beneath the others, to be beaten; not among the differences"
    )


class Condition(Section):
    """Settings under which every arm is run; each has a table, and claims take the mean over them."""

    name: Name
    set: Settings = Field({}, description="settings of every cell under it, of the study's kind")


class Claim(Section):
    """A sentence and the comparison that decides it.

    Better and than are arms, or an arm of a grid with its values (`lse gamma=5`); an arm that has a grid
    stands for all of its combinations. It holds where the metric of `better` exceeds that of each of `than`
    by more than the margin.
    """

    text: str
    source: str = Field(description="who claims it: a paper, or ours")
    metric: str
    than_metric: str = Field("", description="of `than`, where it is another one")
    better: Name
    than: Names = Field((), description="arms; none to hold the metric itself against the margin")
    margin: float = Field(
        0.0, description="that the difference must exceed, in units of the metric, more being better"
    )
    data: Names = Field((), description="on which data; none for each")
    conditions: Names = Field((), description="over which; none for all")


class Relations(Section):
    """Rank correlations over the arms, floors left out, of every property with every performance."""

    properties: Names = Field(min_length=1, description="metrics that tell what an arm is like")
    performance: Names = Field(min_length=1, description="metrics that tell how good it is")


class Form(Section):
    """A size of the study; what it names replaces what the study says."""

    minutes: Annotated[float, Field(gt=0)] = Field(description="meant for two cores, at most")
    seeds: Seeds | None = None
    base: Settings = Field({}, description="settings of every cell of the study's kind, over its own")
    others: dict[str, Settings] = Field({}, description="settings of cells of other kinds, by kind")
    data: dict[str, Settings] = Field({}, description="settings of data by name")
    arms: Names = Field((), description="those run; none for all")
    conditions: Names = Field((), description="those run; none for all")


class Scaled(Section):
    """What `--scale` multiplies: numbers among the settings of data and of cells."""

    data: Names = ()
    cells: Names = ()


class Study(Section):
    """A study."""

    name: Name
    title: str
    purpose: str
    kind: str = Field("checkpoint", description="of all cells whose arm names no other")
    data: dict[str, DataEntry] = Field({}, description="by name; none where cells need no data")
    base: Settings = Field({}, description="settings of every cell of the study's kind")
    others: dict[str, Settings] = Field({}, description="settings of cells of other kinds, by kind")
    arms: tuple[Arm, ...] = Field(min_length=1)
    conditions: tuple[Condition, ...] = Field((), description="none for a single one without a name")
    seeds: Seeds = Field((0, 1, 2), min_length=1, description="a number of them, or a list")
    metrics: Names = Field(min_length=1, description="in the tables")
    baseline: Name = Field(description="the arm that each other one is compared with")
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="of the intervals")
    claims: tuple[Claim, ...] = ()
    relations: Relations | None = Field(None, description="told beside the claims; none for none")
    forms: dict[str, Form] = Field(min_length=1, description="such as short and full")
    scaled: Scaled = Scaled()


def load_study(source: str | Path) -> Study:
    """The study of a YAML file or of a shipped name.

    Raises:
        UsageError: there is none, or naming every problem of the file at once.
    """
    path, shipped = find_shipped(source, FOLDER)
    if path is None:
        raise UsageError(
            f"no study {str(source)!r}{nearest(str(source), shipped)}; give a YAML file or: "
            f"{', '.join(shipped)}"
        )
    return check_study(read_tree(path), where=str(path))


def check_study(tree: Mapping[str, Any], *, where: str) -> Study:
    """The tree as a study.

    Raises:
        UsageError: listing keys that are unknown, values that do not fit, and names that are not there.
    """
    try:
        study = Study.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(item)}" for item in error.errors())
        raise UsageError(f"{where} does not fit the schema of a study:\n{problems}") from error
    found = list(_wrong_names(study))
    if found:
        raise UsageError(f"{where}: {'; '.join(found)}")
    return study


def _problem(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"unknown key {name}"
    return f"{name}: {item['msg']}" + ("" if item["type"] == "missing" else f" (not {item['input']!r})")


def _wrong_names(study: Study) -> Iterator[str]:
    """Names given twice, and names of what is not there."""
    arms = [arm.name for arm in study.arms]
    conditions = [condition.name for condition in study.conditions]
    yield from _repeated("arm", arms)
    yield from _repeated("condition", conditions)
    yield from _repeated("seed", map(str, study.seeds))
    for arm in study.arms:
        for key, values in arm.grid.items():
            if not values:
                yield f"arm {arm.name}: its grid has no value for {key}, which leaves no cell"
    for name, form in study.forms.items():
        where = f"form {name}"
        yield from _unknown(where, "data", form.data, study.data)
        yield from _unknown(where, "arm", form.arms, arms)
        yield from _unknown(where, "condition", form.conditions, conditions)
        if form.seeds is not None and not form.seeds:
            yield f"{where} has no seed, which leaves no cell"
    for name, entry in study.data.items():
        yield from _unknown(f"data {name}", "arm", entry.arms, arms)
    for claim in study.claims:
        where = f"claim {claim.text!r}"
        yield from _unknown(where, "data", claim.data, study.data)
        yield from _unknown(where, "condition", claim.conditions, conditions)


def _repeated(what: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{what} {name!r} stands there {count} times"


def _unknown(where: str, what: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    known = list(known)
    for name in names:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none"
            yield f"{where}: no {what} {name!r}{nearest(name, known)}; {there}"
