"""Zero-shot as a method of the probe: its scores, their spread over prompts, and their calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from mmil_cli.config.prompts import Prompts
from mmil_cli.errors import UsageError, listing
from mmil_cli.metrics.platt import PlattFit, fit_platt
from mmil_cli.stages.findings import matching
from mmil_cli.stages.label_sets import some_of
from mmil_cli.stages.policies import Method
from mmil_cli.stages.probe_readers import Readings
from mmil_cli.stages.probe_scores import MethodResult, score_method
from mmil_cli.stages.probe_task import ProbeTask, PromptLogits
from mmil_cli.stages.zero_shot import affirmed, prompt_spread

SHOWN_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationCases:
    """The labelled validation films that the scores of one finding are calibrated on: places among them."""

    finding: str
    places: np.ndarray


def choose_cases(
    task: ProbeTask, findings: Sequence[str], number: int, *, seed: int
) -> list[CalibrationCases]:
    """So many labelled validation films of each finding, by lot and of as many patients as there are.

    They are drawn as they come, not so many of each class: a probability must know how common a finding is.

    Raises:
        UsageError: there is no validate split, or it has fewer labelled films of a finding.
    """
    if not len(task.validate):
        raise UsageError(
            "--calibrate draws labelled films of the validate split, which this dataset does not have or "
            "which is the one scored; leave it out, or preprocess with a validate split"
        )
    drawn, short = [], []
    for finding in findings:
        column = task.names.index(finding)
        known = ~np.isnan(task.labels[task.validate, column])
        if known.sum() < number:
            short.append(f"{finding} {known.sum()}")
            continue
        generator = np.random.default_rng([seed, column])
        places = some_of(known, task.patients[task.validate], number, generator)
        drawn.append(CalibrationCases(finding=finding, places=places))
    if short:
        raise UsageError(
            f"--calibrate {number}: the validate split has fewer labelled films of {listing(short)}; ask "
            "for fewer, or choose --findings"
        )
    return drawn


def zero_shot_result(
    task: ProbeTask,
    prompts: Mapping[str, Prompts],
    logits: tuple[PromptLogits, PromptLogits],
    *,
    cases: Sequence[CalibrationCases],
    seed: int,
) -> MethodResult:
    """The figures of zero-shot.

    Args:
        task: with the labels.
        prompts: of the findings that have any, in the order of the logits.
        logits: of the validation films and of those to be scored.
        cases: to calibrate on; none for the sigmoid of the raw difference.
        seed: of the bootstraps.
    """
    validate, scored = (_by_finding(part, prompts) for part in logits)
    fits = _calibrate(task, validate, cases, seed=seed)
    details = _details(task, prompts, logits[1], scored, fits, cases)
    classes = _class_logits(task, list(prompts), logits[1])
    tasks_without = {
        target.name: "no prompts for each of its classes"
        for target in task.targets
        if target.name not in classes
    }
    readings = Readings(
        scored=scored,
        validate=validate,
        classes=classes,
        skipped={
            **{name: "no prompts for it" for name in task.names if name not in prompts},
            **tasks_without,
        },
        details=details,
    )
    probabilities = {name: expit(fit.best.log_odds(scored[name])) for name, fit in fits.items()}
    return score_method(Method.ZERO_SHOT, readings, task, seed=seed, probabilities=probabilities)


def _by_finding(logits: PromptLogits, prompts: Mapping[str, Prompts]) -> dict[str, np.ndarray]:
    if not logits.ensembles.size:
        return {name: np.empty(0) for name in prompts}
    return dict(zip(prompts, affirmed(logits.ensembles).astype(np.float64).T, strict=True))


def _calibrate(
    task: ProbeTask, validate: Mapping[str, np.ndarray], cases: Sequence[CalibrationCases], *, seed: int
) -> dict[str, PlattFit]:
    """The findings whose cases have both classes."""
    fits = {}
    for part in cases:
        labels = task.labels[task.validate, task.names.index(part.finding)][part.places]
        if len(np.unique(labels)) == 2:
            fits[part.finding] = fit_platt(labels, validate[part.finding][part.places], seed=seed)
    return fits


def _details(
    task: ProbeTask,
    prompts: Mapping[str, Prompts],
    logits: PromptLogits,
    scored: Mapping[str, np.ndarray],
    fits: Mapping[str, PlattFit],
    cases: Sequence[CalibrationCases],
) -> dict[str, dict[str, Any]]:
    asked = {part.finding: len(part.places) for part in cases}
    details, start = {}, 0
    for name, pair in prompts.items():
        stop = start + len(pair.positive) + len(pair.negative)
        labels = task.labels[task.scored, task.names.index(name)]
        spread = prompt_spread(labels, logits.single[:, start:stop], pair)
        details[name] = {**asdict(pair), "single_prompts": asdict(spread)}
        if name in asked:
            details[name]["calibration"] = _calibration(fits.get(name), asked[name], scored[name])
        start = stop
    return details


def _calibration(fit: PlattFit | None, number: int, scores: np.ndarray) -> dict[str, Any]:
    """What a score means, and how sure that is."""
    if fit is None:
        return {"num_cases": number, "why_not": "its cases have one class"}
    shown = [float(score) for score in np.quantile(scores, SHOWN_QUANTILES)]
    return {
        "num_cases": number,
        "num_positive": fit.num_positive,
        "slope": asdict(fit.slope),
        "intercept": asdict(fit.intercept),
        "probabilities": [{"score": score, **asdict(fit.probability(score))} for score in shown],
    }


def _class_logits(task: ProbeTask, findings: Sequence[str], logits: PromptLogits) -> dict[str, np.ndarray]:
    """Of tasks whose classes all have prompts: the logits with their positive ensembles."""
    return {
        target.name: logits.ensembles[:, [findings.index(name) for name in target.classes], 0].astype(
            np.float64
        )
        for target in task.targets
        if set(target.classes) <= set(findings)
    }


def ensembles_of(
    given: Mapping[str, Prompts], names: Sequence[str], source: str | Path
) -> dict[str, Prompts]:
    """The prompts of the wanted findings, under the dataset's names.

    Raises:
        UsageError: there are prompts for none of them.
    """
    ensembles = matching(given, names)
    if not ensembles:
        raise UsageError(
            f"--prompts {source} has prompts for none of {listing(list(names))}; it has: "
            f"{listing(list(given), 20)}; write a YAML file with `positive:` and `negative:` sentences "
            "for them, or give --method linear"
        )
    return ensembles


def unused_prompts(given: Mapping[str, Prompts], names: Sequence[str], source: str | Path) -> tuple[str, ...]:
    """What to say of prompts of one's own file that no label of the dataset belongs to."""
    if not Path(source).is_file():  # shipped prompts are for whatever the dataset has
        return ()
    used = matching({name: name for name in given}, names).values()
    unused = [name for name in given if name not in used]
    if not unused:
        return ()
    return (f"prompts {Path(source).name}: this dataset has no labels of {listing(unused)}; left out",)
