"""What a patient has: findings that go together as they do in life."""

from collections.abc import Callable

import numpy as np

from mmil_cli.phantom.difficulty import Settings
from mmil_cli.phantom.findings import Finding, Kind, Side, Zone

NORMAL = 0.3
LASTING = frozenset({Kind.CARDIOMEGALY, Kind.PACEMAKER, Kind.NODULE})


class Sampler:
    """Draws findings with one generator and the ranges of one difficulty."""

    def __init__(self, rng: np.random.Generator, settings: Settings) -> None:
        self.rng = rng
        self.settings = settings

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)

    def side(self, bilateral: float = 0.0) -> Side:
        """A side, or both with a probability."""
        if bilateral and self.chance(bilateral):
            return Side.BILATERAL
        return Side.LEFT if self.chance(0.5) else Side.RIGHT

    def finding(self, kind: Kind, side: Side, zone: Zone) -> Finding:
        """A finding of drawn severity, place and texture."""
        low, high = self.settings.severity
        small, big = self.settings.nodule_mm
        diameter = round(float(self.rng.uniform(small, big))) if kind is Kind.NODULE else 0
        return Finding(
            kind=kind,
            side=side,
            zone=zone,
            severity=round(float(self.rng.uniform(low, high)), 3),
            diameter_mm=float(diameter),
            place=(float(self.rng.random()), float(self.rng.random())),
            seed=int(self.rng.integers(2**31)),
        )

    def zone(self, side: Side, *zones: Zone) -> Zone:
        """One of the zones; retrocardiac only on the left."""
        allowed = [zone for zone in zones if side is Side.LEFT or zone is not Zone.RETROCARDIAC]
        return allowed[int(self.rng.integers(len(allowed)))]


def sample_findings(
    rng: np.random.Generator, *, settings: Settings, before: tuple[Finding, ...]
) -> tuple[tuple[Finding, ...], bool]:
    """Findings of one study, after those of the study before, and whether the patient is bedridden."""
    sampler = Sampler(rng, settings)
    lasting = [finding for finding in before if finding.kind in LASTING]
    if sampler.chance(NORMAL) and not lasting:
        return (), sampler.chance(0.15)
    names, shares = zip(*((scenario, share) for scenario, share in SCENARIOS), strict=True)
    chosen = names[int(rng.choice(len(names), p=np.array(shares) / sum(shares)))]
    found = lasting if lasting and sampler.chance(0.3) else [*lasting, *chosen(sampler)]
    kinds: dict[Kind, Finding] = {}
    for finding in found:
        kinds.setdefault(finding.kind, finding)
    order = list(Kind)
    result = tuple(sorted(kinds.values(), key=lambda finding: order.index(finding.kind)))
    return result, Kind.ENDOTRACHEAL_TUBE in kinds or (Kind.EDEMA in kinds and sampler.chance(0.6))


def _heart_failure(s: Sampler) -> list[Finding]:
    found = [s.finding(Kind.EDEMA, Side.BILATERAL, Zone.PERIHILAR)]
    if s.chance(0.6):
        found.append(_heart(s))
    if s.chance(0.45):
        found.append(s.finding(Kind.EFFUSION, s.side(0.6), Zone.BASAL))
    return found


def _heart(s: Sampler) -> Finding:
    return s.finding(Kind.CARDIOMEGALY, Side.MIDLINE, Zone.CARDIAC)


def _effusion(s: Sampler) -> list[Finding]:
    side = s.side(0.18)
    found = [s.finding(Kind.EFFUSION, side, Zone.BASAL)]
    if s.chance(0.2):
        found.append(_plate(s, side))
    return found


def _plate(s: Sampler, side: Side) -> Finding:
    zone = s.zone(side, Zone.MID, Zone.LOWER, Zone.BASAL)
    return s.finding(Kind.ATELECTASIS, side, zone)


def _pneumothorax(s: Sampler) -> list[Finding]:
    found = [s.finding(Kind.PNEUMOTHORAX, s.side(), Zone.APICAL)]
    if s.chance(0.15):
        found.append(_central_line(s))
    return found


def _pneumonia(s: Sampler) -> list[Finding]:
    side = s.side(0.1)
    zone = s.zone(side, Zone.UPPER, Zone.MID, Zone.LOWER, Zone.LOWER, Zone.RETROCARDIAC)
    found = [s.finding(Kind.CONSOLIDATION, side, zone)]
    if s.chance(0.15) and zone is not Zone.LOWER:
        found.append(s.finding(Kind.EFFUSION, side, Zone.BASAL))
    return found


def _atelectasis(s: Sampler) -> list[Finding]:
    return [_plate(s, s.side(0.2))]


def _nodule(s: Sampler) -> list[Finding]:
    side = s.side()
    return [s.finding(Kind.NODULE, side, s.zone(side, Zone.UPPER, Zone.MID, Zone.LOWER))]


def _big_heart(s: Sampler) -> list[Finding]:
    found = [_heart(s)]
    if s.chance(0.4):
        found.append(s.finding(Kind.PACEMAKER, Side.LEFT if s.chance(0.75) else Side.RIGHT, Zone.UPPER))
    return found


def _central_line(s: Sampler) -> Finding:
    return s.finding(Kind.CENTRAL_LINE, Side.RIGHT if s.chance(0.65) else Side.LEFT, Zone.CENTRAL)


def _intensive_care(s: Sampler) -> list[Finding]:
    found = [s.finding(Kind.ENDOTRACHEAL_TUBE, Side.MIDLINE, Zone.CENTRAL)]
    if s.chance(0.75):
        found.append(s.finding(Kind.NASOGASTRIC_TUBE, Side.MIDLINE, Zone.CENTRAL))
    if s.chance(0.6):
        found.append(_central_line(s))
    acute: list[Callable[[Sampler], list[Finding]]] = [_heart_failure, _effusion, _pneumonia, _atelectasis]
    return [*found, *acute[int(s.rng.integers(len(acute)))](s)]


def _device(s: Sampler) -> list[Finding]:
    if s.chance(0.5):
        return [_central_line(s)]
    return [s.finding(Kind.PACEMAKER, Side.LEFT if s.chance(0.75) else Side.RIGHT, Zone.UPPER)]


SCENARIOS: tuple[tuple[Callable[[Sampler], list[Finding]], float], ...] = (
    (_heart_failure, 0.15),
    (_effusion, 0.17),
    (_pneumothorax, 0.15),
    (_pneumonia, 0.18),
    (_atelectasis, 0.10),
    (_nodule, 0.10),
    (_big_heart, 0.10),
    (_intensive_care, 0.08),
    (_device, 0.04),
)
