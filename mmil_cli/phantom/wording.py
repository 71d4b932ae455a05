"""How radiologists put it: sentences for each finding, with what each says for the labels.

`{size}`, `{side}`, `{where}` ("left lower lobe"), `{in_where}` ("the left lower lobe") and `{a}` (the article
before the size) are filled in. The first sentence of each tuple is the plainest.
"""

from dataclasses import dataclass, field

from mmil_cli.phantom.findings import CATEGORY, Kind

POSITIVE, NEGATIVE, UNCERTAIN = 1, 0, -1


@dataclass(frozen=True)
class Wording:
    """A sentence, and the labels it gives beyond the category of its finding."""

    text: str
    labels: dict[str, int] = field(default_factory=dict)


def _positive(kind: Kind, *texts: str) -> tuple[Wording, ...]:
    return tuple(Wording(text, {CATEGORY[kind]: POSITIVE}) for text in texts)


def _uncertain(kind: Kind, *texts: str) -> tuple[Wording, ...]:
    return tuple(Wording(text, {CATEGORY[kind]: UNCERTAIN}) for text in texts)


OPACITY_PNEUMONIA = {"Lung Opacity": POSITIVE, "Consolidation": POSITIVE, "Pneumonia": UNCERTAIN}
UNSURE_OPACITY = {"Lung Opacity": POSITIVE, "Consolidation": UNCERTAIN, "Pneumonia": UNCERTAIN}

ONE_SIDED: dict[Kind, tuple[Wording, ...]] = {
    Kind.EFFUSION: _positive(
        Kind.EFFUSION,
        "There is a {size} {side} pleural effusion.",
        "{size} {side} pleural effusion.",
        "A {size} {side} pleural effusion is present.",
        "A {size} effusion is seen on the {side}.",
        "{size} layering pleural fluid on the {side}, with blunting of the costophrenic angle.",
        "The {side} costophrenic angle is obscured, in keeping with a {size} pleural effusion.",
        "Blunting of the {side} costophrenic angle is compatible with a {size} pleural effusion.",
        "There is {size} pleural fluid at the {side} base with a meniscus.",
        "Opacity at the {side} base with a meniscus reflects a {size} pleural effusion.",
    ),
    Kind.PNEUMOTHORAX: _positive(
        Kind.PNEUMOTHORAX,
        "There is a {size} {side} pneumothorax.",
        "{size} {side} pneumothorax.",
        "A {size} {side} apical pneumothorax is seen.",
        "A visceral pleural line is visible at the {side} apex, consistent with a {size} pneumothorax.",
        "{size} pneumothorax on the {side}, largest at the apex.",
        "Lucency without lung markings at the {side} apex represents a {size} pneumothorax.",
        "The {side} lung is partly collapsed by a {size} pneumothorax.",
    ),
    Kind.CONSOLIDATION: (
        *_positive(
            Kind.CONSOLIDATION,
            "There is {size} consolidation in {in_where}.",
            "{size} {where} consolidation.",
            "{size} airspace consolidation is present in {in_where}.",
            "A {size} area of consolidation with air bronchograms is seen in {in_where}.",
            "{in_where} shows {size} consolidation.",
        ),
        Wording(
            "{size} {where} consolidation is concerning for pneumonia.",
            OPACITY_PNEUMONIA | {"Lung Opacity": POSITIVE},
        ),
        Wording(
            "{size} opacity with air bronchograms in {in_where}, consistent with pneumonia.",
            {"Lung Opacity": POSITIVE, "Consolidation": POSITIVE, "Pneumonia": POSITIVE},
        ),
        Wording("Consolidative opacity in {in_where} may represent pneumonia.", OPACITY_PNEUMONIA),
    ),
    Kind.ATELECTASIS: _positive(
        Kind.ATELECTASIS,
        "There is {size} {where} atelectasis.",
        "{size} linear atelectasis in {in_where}.",
        "Band-like opacity in {in_where} is consistent with {size} atelectasis.",
        "{size} plate-like atelectasis is noted in {in_where}.",
        "{size} subsegmental atelectasis in {in_where}.",
        "Linear opacities in {in_where} reflect {size} atelectasis.",
    ),
    Kind.NODULE: _positive(
        Kind.NODULE,
        "There is {a} {size} nodule in {in_where}.",
        "{size} {where} nodule.",
        "{a} {size} rounded nodular opacity projects over {in_where}.",
        "{a} {size} pulmonary nodule is seen in {in_where}.",
        "Round well defined nodule in {in_where} measuring {size}.",
        "A nodule of {size} projects over {in_where}.",
    ),
    Kind.PACEMAKER: _positive(
        Kind.PACEMAKER,
        "There is a {side} chest wall pacemaker.",
        "{side}-sided pacemaker is in place.",
        "A {side} pectoral pacemaker generator is seen with its lead in the right ventricle.",
        "Cardiac pacing device in the {side} chest wall.",
    ),
    Kind.CENTRAL_LINE: _positive(
        Kind.CENTRAL_LINE,
        "There is a {side} {line} with its tip in the SVC.",
        "{side} {line} terminates in the superior vena cava.",
        "A {side}-sided {line} ends in the SVC.",
        "{side} {line} in standard position.",
    ),
}

MIDLINE: dict[Kind, tuple[Wording, ...]] = {
    Kind.CARDIOMEGALY: _positive(
        Kind.CARDIOMEGALY,
        "There is {size} cardiomegaly.",
        "{size} cardiomegaly.",
        "The heart is {size_adverb} enlarged.",
        "The cardiac silhouette is {size_adverb} enlarged.",
        "{size} enlargement of the cardiac silhouette.",
        "Heart size is {size_adverb} increased.",
    ),
    Kind.ENDOTRACHEAL_TUBE: _positive(
        Kind.ENDOTRACHEAL_TUBE,
        "There is an endotracheal tube with its tip {distance} above the carina.",
        "The endotracheal tube terminates {distance} above the carina.",
        "ET tube tip is {distance} above the carina.",
        "Endotracheal tube in standard position.",
    ),
    Kind.NASOGASTRIC_TUBE: _positive(
        Kind.NASOGASTRIC_TUBE,
        "There is a nasogastric tube coursing below the diaphragm.",
        "The nasogastric tube passes into the stomach.",
        "Enteric tube courses below the diaphragm.",
        "NG tube tip projects over the stomach.",
    ),
}

BOTH_SIDED: dict[Kind, tuple[Wording, ...]] = {
    Kind.EFFUSION: _positive(
        Kind.EFFUSION,
        "There are {size} bilateral pleural effusions.",
        "{size} bilateral pleural effusions.",
        "Bilateral pleural effusions are {size}.",
        "Both costophrenic angles are obscured by {size} pleural effusions.",
        "{size} pleural effusions are seen on both sides.",
    ),
    Kind.CONSOLIDATION: (
        *_positive(
            Kind.CONSOLIDATION,
            "There is {size} consolidation in {in_where}.",
            "{size} bilateral consolidations in {in_where}.",
            "Multifocal consolidation is seen in {in_where}.",
        ),
        Wording("Multifocal opacities in {in_where} are concerning for pneumonia.", OPACITY_PNEUMONIA),
    ),
    Kind.ATELECTASIS: _positive(
        Kind.ATELECTASIS,
        "There is {size} bilateral atelectasis in {in_where}.",
        "{size} bilateral linear atelectasis.",
        "Bilateral band-like opacities reflect {size} atelectasis.",
    ),
    Kind.EDEMA: _positive(
        Kind.EDEMA,
        "There is {size} pulmonary edema.",
        "{size} pulmonary edema.",
        "Bilateral perihilar haze is consistent with {size} pulmonary edema.",
        "Perihilar opacities with upper zone vascular redistribution represent {size} pulmonary edema.",
        "{size} interstitial and perihilar edema is present.",
        "Vascular congestion and {size} pulmonary edema.",
    ),
}

DOUBTFUL: dict[Kind, tuple[Wording, ...]] = {
    Kind.EFFUSION: _uncertain(
        Kind.EFFUSION,
        "Blunting of the {side} costophrenic angle may represent a {size} pleural effusion.",
        "A {size} {side} pleural effusion is suspected.",
        "Possible {size} {side} pleural effusion.",
    ),
    Kind.PNEUMOTHORAX: _uncertain(
        Kind.PNEUMOTHORAX,
        "A possible {size} {side} pneumothorax is seen at the apex.",
        "Findings are suspicious for a {size} {side} pneumothorax.",
    ),
    Kind.CONSOLIDATION: (
        Wording("Opacity in {in_where} may represent consolidation or pneumonia.", UNSURE_OPACITY),
        Wording(
            "{size} opacity in {in_where} could reflect early consolidation or pneumonia.", UNSURE_OPACITY
        ),
        *_uncertain(Kind.CONSOLIDATION, "Possible {size} consolidation in {in_where}."),
    ),
    Kind.ATELECTASIS: (
        *_uncertain(Kind.ATELECTASIS, "Linear opacity in {in_where} may represent {size} atelectasis."),
        Wording(
            "Streaky opacity in {in_where} may reflect atelectasis.",
            {"Atelectasis": UNCERTAIN, "Lung Opacity": POSITIVE},
        ),
    ),
    Kind.NODULE: _uncertain(
        Kind.NODULE,
        "Possible {size} nodule in {in_where}.",
        "{a} {size} nodular opacity in {in_where} may represent a pulmonary nodule.",
    ),
    Kind.EDEMA: _uncertain(
        Kind.EDEMA,
        "Perihilar haze may represent {size} pulmonary edema.",
        "Possible {size} pulmonary edema.",
    ),
    Kind.CARDIOMEGALY: _uncertain(
        Kind.CARDIOMEGALY, "The heart may be {size_adverb} enlarged.", "Possible {size} cardiomegaly."
    ),
}


PHRASES: dict[Kind, str] = {
    Kind.EFFUSION: "{size} {side} pleural effusion",
    Kind.PNEUMOTHORAX: "{size} {side} pneumothorax",
    Kind.CONSOLIDATION: "{size} {where} consolidation",
    Kind.ATELECTASIS: "{size} {where} atelectasis",
    Kind.NODULE: "{size} {where} nodule",
    Kind.EDEMA: "{size} pulmonary edema",
    Kind.CARDIOMEGALY: "{size} cardiomegaly",
    Kind.PACEMAKER: "{side} chest wall pacemaker",
    Kind.CENTRAL_LINE: "{side} {line}",
    Kind.ENDOTRACHEAL_TUBE: "endotracheal tube",
    Kind.NASOGASTRIC_TUBE: "nasogastric tube",
}
