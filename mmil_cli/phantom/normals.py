"""What a report says of all that is not there: negations and normal sentences, shared by many reports."""

from dataclasses import dataclass

from mmil_cli.phantom.findings import DEVICES, Kind

LUNG = frozenset({Kind.CONSOLIDATION, Kind.EDEMA, Kind.ATELECTASIS, Kind.NODULE})
PLEURA = frozenset({Kind.EFFUSION, Kind.PNEUMOTHORAX})
HEART = frozenset({Kind.CARDIOMEGALY})
ANYTHING = frozenset(Kind) - DEVICES


@dataclass(frozen=True)
class Normal:
    """A sentence that is true where none of `absent` is there; `denied` are the labels it sets to 0."""

    text: str
    absent: frozenset[Kind]
    denied: tuple[str, ...] = ()


_EFFUSION, _COLLAPSE = "Pleural Effusion", "Pneumothorax"

PLEURAL = (
    Normal("No pleural effusion or pneumothorax.", PLEURA, (_EFFUSION, _COLLAPSE)),
    Normal("There is no pleural effusion or pneumothorax.", PLEURA, (_EFFUSION, _COLLAPSE)),
    Normal("No pleural effusion.", frozenset({Kind.EFFUSION}), (_EFFUSION,)),
    Normal("There is no evidence of pleural effusion.", frozenset({Kind.EFFUSION}), (_EFFUSION,)),
    Normal("No pneumothorax.", frozenset({Kind.PNEUMOTHORAX}), (_COLLAPSE,)),
    Normal("There is no pneumothorax.", frozenset({Kind.PNEUMOTHORAX}), (_COLLAPSE,)),
    Normal("The costophrenic angles are sharp.", frozenset({Kind.EFFUSION})),
    Normal("The pleural surfaces are normal.", PLEURA),
)

LUNGS = (
    Normal("The lungs are clear.", LUNG),
    Normal("Lungs are clear bilaterally.", LUNG),
    Normal("The lungs are well expanded and clear.", LUNG | PLEURA),
    Normal("No focal consolidation.", frozenset({Kind.CONSOLIDATION}), ("Consolidation",)),
    Normal("There is no focal consolidation.", frozenset({Kind.CONSOLIDATION}), ("Consolidation",)),
    Normal("No evidence of pneumonia.", frozenset({Kind.CONSOLIDATION}), ("Pneumonia",)),
    Normal("No pulmonary edema.", frozenset({Kind.EDEMA}), ("Edema",)),
    Normal("There is no pulmonary edema or vascular congestion.", frozenset({Kind.EDEMA}), ("Edema",)),
    Normal(
        "No focal consolidation, pleural effusion, or pneumothorax.",
        PLEURA | {Kind.CONSOLIDATION},
        ("Consolidation", _EFFUSION, _COLLAPSE),
    ),
    Normal("No suspicious nodule or mass is seen.", frozenset({Kind.NODULE}), ("Lung Lesion",)),
)

HEARTS = (
    Normal("The cardiomediastinal silhouette is unremarkable.", HEART, ("Enlarged Cardiomediastinum",)),
    Normal("Cardiomediastinal silhouette is within normal limits.", HEART, ("Enlarged Cardiomediastinum",)),
    Normal("The heart is normal in size.", HEART, ("Cardiomegaly",)),
    Normal("Heart size is normal.", HEART, ("Cardiomegaly",)),
    Normal(
        "Heart size is normal. Mediastinal contours are unremarkable.",
        HEART,
        ("Cardiomegaly", "Enlarged Cardiomediastinum"),
    ),
    Normal("No cardiomegaly.", HEART, ("Cardiomegaly",)),
)

BONES = (
    Normal("No acute osseous abnormality.", frozenset()),
    Normal("The bony thorax is intact.", frozenset()),
    Normal("No displaced rib fracture is seen.", frozenset(), ("Fracture",)),
    Normal("Imaged osseous structures are intact.", frozenset()),
)

IMPRESSIONS = (
    Normal("No acute cardiopulmonary process.", ANYTHING),
    Normal("No acute cardiopulmonary abnormality.", ANYTHING),
    Normal("No evidence of acute cardiopulmonary disease.", ANYTHING),
    Normal("Normal chest radiograph.", frozenset(Kind)),
    Normal("No acute intrathoracic process.", ANYTHING),
)

INDICATIONS = (
    "with cough and fever",
    "with shortness of breath",
    "with chest pain",
    "with dyspnea",
    "with hypoxia",
    "with weakness",
    "with cough  // r/o pneumonia",
    "with altered mental status",
    "status post fall",
    "for preoperative evaluation",
)

BEDSIDE_INDICATIONS = (
    "with respiratory failure",
    "with shortness of breath  // interval change?",
    "with hypoxia  // edema?",
    "status post line placement",
    "intubated  // please assess tubes and lines",
)
