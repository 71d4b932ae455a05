"""From a study to its cells: form and scale laid over it, grids expanded, everything checked at once."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmil_cli.config.study import Arm, Claim, Condition, Settings, Study
from mmil_cli.errors import UsageError, listing, nearest
from mmil_cli.stages.study.kinds import Metric, cell_kind, data_kind
from mmil_cli.stages.study.plan import NO_CONDITION, NO_DATA, Cell, DataPlan, Row, StudyPlan, folder_name


def plan_study(
    study: Study,
    *,
    form: str,
    scale: float = 1.0,
    given: Mapping[str, Path] | None = None,
    phrases: Mapping[str, Path] | None = None,
) -> StudyPlan:
    """All cells of a form of a study, checked before anything is run.

    Args:
        study: the recipe.
        form: one of its forms.
        scale: multiplies the numbers that the study says are sizes.
        given: folders of data, by name.
        phrases: tables of phrases and boxes of given data, by name.

    Raises:
        UsageError: a form, key, arm or metric that is not there, or data that is not given.
    """
    if form not in study.forms:
        raise UsageError(
            f"study {study.name} has no form {form!r}{nearest(form, study.forms)}; "
            f"it has {', '.join(study.forms)}"
        )
    if scale <= 0:
        raise UsageError(f"--scale is {scale:g}; it multiplies sizes, so give a number above 0, such as 10")
    if scale != 1 and not (study.scaled.data or study.scaled.cells):
        raise UsageError(f"--scale: study {study.name} has no sizes to multiply; leave it out")
    data = tuple(_plan_data(study, form, scale, given or {}, phrases or {}))
    rows = tuple(_rows(study, form))
    seeds = study.seeds if (own := study.forms[form].seeds) is None else own
    conditions = _conditions(study, form)
    plan = StudyPlan(
        study=study,
        form=form,
        scale=scale,
        data=data,
        conditions=tuple(condition.name for condition in conditions),
        rows=rows,
        seeds=seeds,
        cells=tuple(_cells(study, form, scale, data, conditions, rows, seeds)),
        claims=(),
        untested=(),
    )
    _check_cells(plan)
    return _with_claims(plan)


def _plan_data(
    study: Study, form: str, scale: float, given: Mapping[str, Path], phrases: Mapping[str, Path]
) -> Iterator[DataPlan]:
    known = f"it has {', '.join(study.data)}" if study.data else "it takes none"
    for option, names in (("--data", [*given]), ("--phrases", [*phrases])):
        for name in names:
            if name not in study.data:
                raise UsageError(
                    f"{option}: study {study.name} has no data {name!r}{nearest(name, study.data)}; {known}"
                )
    for lone in phrases.keys() - given.keys():
        raise UsageError(f"--phrases {lone}=TABLE goes with --data {lone}=FOLDER; give both")
    used = 0
    elsewhere = {arm for entry in study.data.values() for arm in entry.arms}
    everywhere = {arm.name for arm in study.arms} - elsewhere
    for name, entry in study.data.items():
        if entry.optional and name not in given:
            continue
        kind = data_kind(entry.kind)
        own = {**entry.set, **study.forms[form].data.get(name, {})}
        own |= {"phrases": str(phrases[name])} if name in phrases else {}
        settings = _scaled(own, study.scaled.data, scale)
        kind.check(settings, given=given.get(name))
        used += 1
        yield DataPlan(
            name=name,
            title=entry.title,
            kind=entry.kind,
            settings=settings,
            cells=entry.cells,
            given=given.get(name),
            arms=frozenset(entry.arms or everywhere),
            split=entry.split,
            boxes_split=entry.boxes_split or entry.split,
            offers=kind.offers(settings, given=given.get(name)),
        )
    if study.data and not used:
        ways = " or ".join(f"--data {name}=FOLDER" for name in study.data)
        raise UsageError(f"study {study.name} has no data without {ways}")


def _scaled(settings: Mapping[str, Any], names: Sequence[str], scale: float) -> Settings:
    """Settings with some numbers multiplied; whole numbers stay whole, and at least 1."""
    if scale == 1:
        return dict(settings)
    found = dict(settings)
    for name in names:
        value = found.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            found[name] = max(1, round(value * scale))
        elif isinstance(value, float):
            found[name] = value * scale
    return found


def _rows(study: Study, form: str) -> Iterator[Row]:
    wanted = study.forms[form].arms or [arm.name for arm in study.arms]
    arms = [arm for arm in study.arms if arm.name in wanted]
    found = [row for arm in arms for row in _rows_of(arm, study.kind)]
    names = [row.name for row in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"study {study.name}: two arms or values of a grid are both called {twice!r}")
    yield from sorted(found, key=lambda row: row.floor)


def _rows_of(arm: Arm, kind: str) -> Iterator[Row]:
    for values in itertools.product(*arm.grid.values()):
        chosen = dict(zip(arm.grid, values, strict=True))
        words = [f"{key.rpartition('.')[2]}={_word(value)}" for key, value in chosen.items()]
        yield Row(
            name=" ".join([arm.name, *words]),
            arm=arm.name,
            kind=arm.kind or kind,
            settings={**arm.set, **chosen},
            floor=arm.floor,
        )


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _conditions(study: Study, form: str) -> tuple[Condition, ...]:
    wanted = study.forms[form].conditions
    found = tuple(c for c in study.conditions if not wanted or c.name in wanted)
    return found or (Condition.model_construct(name=NO_CONDITION, set={}),)


def _cells(
    study: Study,
    form: str,
    scale: float,
    data: Sequence[DataPlan],
    conditions: Sequence[Condition],
    rows: Sequence[Row],
    seeds: Sequence[int],
) -> Iterator[Cell]:
    below = {**study.base, **study.forms[form].base}
    found = []
    for entry, condition, row, seed in itertools.product(data or (None,), conditions, rows, seeds):
        if entry is not None and row.arm not in entry.arms:
            continue
        name, of_data = (entry.name, entry.cells) if entry else (NO_DATA, {})
        if row.kind == study.kind:
            shared = {**below, **of_data, **condition.set}
        else:
            shared = {**study.others.get(row.kind, {}), **study.forms[form].others.get(row.kind, {})}
        settings = {**shared, **row.settings}
        cell = Cell(
            data=name,
            condition=condition.name,
            row=row,
            seed=seed,
            settings=_scaled(settings, study.scaled.cells, scale),
            needs={},
        )
        found.append(_with_needs(cell, rows))
    yield from _in_order(found)


def _with_needs(cell: Cell, rows: Sequence[Row]) -> Cell:
    wanted = cell_kind(cell.row.kind).needs(cell.settings)
    known = [row.name for row in rows]
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"arm {cell.row.name} needs the cells of arm {name!r}{nearest(name, known)}, which this form "
                f"does not have; it has {listing(known)}"
            )
    return replace(
        cell, needs={name: folder_name(cell.data, cell.condition, name, cell.seed) for name in wanted}
    )


def _in_order(cells: Sequence[Cell]) -> Iterator[Cell]:
    """Those that need others after them, else as they stand."""
    waiting, done = list(cells), set[str]()
    while waiting:
        ready = [cell for cell in waiting if set(cell.needs.values()) <= done]
        if not ready:
            raise UsageError(f"arms {listing(sorted({cell.row.name for cell in waiting}))} need each other")
        yield from ready
        done |= {cell.folder for cell in ready}
        waiting = [cell for cell in waiting if cell.folder not in done]


def _check_cells(plan: StudyPlan) -> None:
    """Each cell by its kind, and the metrics of the tables by what cells come to."""
    offers = {data.name: data.offers for data in plan.data}
    for cell in plan.cells:
        if cell.seed == plan.seeds[0]:
            try:
                cell_kind(cell.row.kind).check(cell.settings, offers=offers.get(cell.data))
            except UsageError as error:
                raise UsageError(f"cell {cell.name}: {error}") from error
    known = plan.metrics()
    related = plan.study.relations
    asked = (*related.properties, *related.performance) if related else ()
    for name in (*plan.study.metrics, *asked):
        _check_metric(plan, name, known)
    if not plan.row_names(plan.study.baseline):
        raise UsageError(
            f"baseline: this form has no arm {plan.study.baseline!r}"
            f"{nearest(plan.study.baseline, [row.name for row in plan.rows])}"
        )
    if len(plan.row_names(plan.study.baseline)) > 1:
        raise UsageError(
            f"baseline: {plan.study.baseline!r} has a grid; name one of its rows, such as "
            f"{plan.row_names(plan.study.baseline)[0]!r}"
        )


def _check_metric(plan: StudyPlan, name: str, known: Mapping[str, Metric]) -> None:
    if name in known:
        return
    lacking = [f"{data.name} has no boxes" for data in plan.data if "boxes" not in data.offers]
    why = f" ({'; '.join(lacking)})" if name.startswith("ground/") and lacking else ""
    raise UsageError(
        f"no cell of this study comes to {name!r}{why}{nearest(name, known)}; they come to "
        f"{listing(list(known), 12)}"
    )


def _with_claims(plan: StudyPlan) -> StudyPlan:
    """The plan with its claims, sorted by whether this form has the arms and data they speak of."""
    claims, untested = [], []
    arms = {arm.name for arm in plan.study.arms}
    for claim in plan.study.claims:
        names = (claim.better, *claim.than)
        if all(plan.row_names(name) for name in names) and _has_places(plan, claim):
            _check_claim(plan, claim)
            claims.append(claim)
            continue
        for name in names:
            if not plan.row_names(name) and name not in arms and not plan.study.forms[plan.form].arms:
                known = [*arms, *(row.name for row in plan.rows)]
                raise UsageError(f"claim {claim.text!r}: no arm {name!r}{nearest(name, known)}")
        untested.append(claim)
    return replace(plan, claims=tuple(claims), untested=tuple(untested))


def _has_places(plan: StudyPlan, claim: Claim) -> bool:
    has_data = not claim.data or any(data.name in claim.data for data in plan.data)
    return has_data and all(name in plan.conditions for name in claim.conditions)


def _check_claim(plan: StudyPlan, claim: Claim) -> None:
    """Refuses a claim whose metric is a time, or one that its cells cannot come to.

    A claim that names no data is asked of those that its metric can be had on, which must be one at least.
    """
    if len(plan.row_names(claim.better)) > 1:
        raise UsageError(
            f"claim {claim.text!r}: {claim.better!r} has a grid; name one of its rows, such as "
            f"{plan.row_names(claim.better)[0]!r}"
        )
    names = claim.data or tuple(data.name for data in plan.data) or (NO_DATA,)
    faults = {name: plan.fault_of(claim, name) for name in names if name in plan.data_names()}
    if all(faults.values()) or (claim.data and any(faults.values())):
        raise UsageError(f"claim {claim.text!r}: {next(filter(None, faults.values()))}")
