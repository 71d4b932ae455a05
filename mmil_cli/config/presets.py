"""Presets of --score: known methods as choices of the same parts, each a piece of a recipe."""

from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A method by its name.

    Attributes:
        method: what it is, in a line.
        source: where it is from, and how ours differs.
        tree: the keys of a recipe that it sets.
    """

    method: str
    source: str
    tree: Tree = field(repr=False)


def _tree(
    expression: str,
    *,
    unit: str,
    critic: str = "cosine",
    sentences: str = "mean",
    objective: str = "infonce",
    temperature: float = 0.07,
    learn_temperature: bool = True,
    **sections: dict[str, Any],
) -> Tree:
    """Every key of the score, so that a preset is the same whatever the recipe beneath it says."""
    text = {"unit": unit, "pool": "mean"} | ({"max_tokens": 160} if unit == "report" else {})
    score = {
        "expression": expression,
        "critic": critic,
        "sentences": sentences,
        "objective": objective,
        "temperature": temperature,
        "learn_temperature": learn_temperature,
    }
    return {"score": score, **sections, "text": text | sections.get("text", {})}


def _plain(expression: str, method: str, source: str) -> Preset:
    """A preset that is an expression and nothing else."""
    return Preset(method=method, source=source, tree={"score": {"expression": expression}})


UNBOUNDED: dict[str, Any] = {"temperature": 1.0, "learn_temperature": False}
LSE_NL = "arXiv 2212.05561 [ours in form]"

PRESETS: dict[str, Preset] = {
    "clip": Preset(
        method="average region x whole report, symmetric InfoNCE, learned temperature",
        source="Radford et al. 2021, arXiv 2103.00020; regions averaged, no attention pool",
        tree=_tree("pooled", unit="report"),
    ),
    "convirt": Preset(
        method="average region x one drawn sentence, InfoNCE weighted 0.75 image to text, temperature 0.1",
        source="Zhang et al. 2020, arXiv 2010.00747",
        tree=_tree(
            "pooled",
            unit="sentence",
            sentences="one",
            objective="infonce(image_to_text=0.75)",
            temperature=0.1,
            learn_temperature=False,
            projection={"dim": 512, "hidden_dim": 512},
        ),
    ),
    "gloria": Preset(
        method="word-to-region attention + average region x whole report, InfoNCE on each, logits x 10",
        source="Huang et al. 2021 (its code); one grid for both terms, tokens for words",
        tree=_tree(
            "word-attention(gamma=4, gamma_words=5)+pooled",
            unit="report",
            temperature=0.1,
            learn_temperature=False,
        ),
    ),
    "scan": Preset(
        method="stacked cross-attention text to image, LSE over words, hinge with the hardest negative",
        source="Lee et al. 2018, arXiv 1803.08024; tokens for words; 100 steps of all negatives first",
        tree=_tree(
            "stacked-attention(gamma=9, pool=lse, gamma_words=6)",
            unit="report",
            objective="hinge(margin=0.2, negatives=hardest, warmup=100)",
            **UNBOUNDED,
        ),
    ),
    "vse++": Preset(
        method="average region x whole report, hinge with the hardest negative",
        source="Faghri et al. 2018, arXiv 1707.05612; 100 steps of all negatives first",
        tree=_tree(
            "pooled", unit="report", objective="hinge(margin=0.2, negatives=hardest, warmup=100)", **UNBOUNDED
        ),
    ),
    "filip": Preset(
        method="each region's best word, image to text; each word's best region, text to image; InfoNCE",
        source="Yao et al. 2021, arXiv 2111.07783; one temperature each way",
        tree=_tree(
            "region-max(weight=0.5):infonce(image_to_text=1)+word-max(weight=0.5):infonce(image_to_text=0)",
            unit="report",
        ),
    ),
    "biovil": Preset(
        method="average of projected patches x [CLS] of the report, D 128, symmetric InfoNCE",
        source="Boecking et al. 2022, arXiv 2204.09817; without its language-model losses",
        tree=_tree("pooled", unit="report", projection={"dim": 128}, text={"pool": "first"}),
    ),
    "siglip": Preset(
        method="average region x whole report, pairwise sigmoid with bias",
        source="Zhai et al. 2023, arXiv 2303.15343",
        tree=_tree("pooled", unit="report", objective="sigmoid(bias=-10)", temperature=0.1),
    ),
    "local-mi": Preset(
        method="best region x one drawn sentence by an MLP critic, Donsker-Varadhan bound",
        source="Liao et al. 2021, arXiv 2103.04537 [ours in form]",
        tree=_tree("max", unit="sentence", critic="mlp", sentences="one", objective="dv", **UNBOUNDED),
    ),
    "local-mi-infonce": Preset(
        method="best region x one drawn sentence by an MLP critic, InfoNCE bound",
        source="Liao et al. 2021, arXiv 2103.04537 [ours in form]",
        tree=_tree(
            "max",
            unit="sentence",
            critic="mlp",
            sentences="one",
            objective="infonce(image_to_text=1)",
            **UNBOUNDED,
        ),
    ),
    "global-mi": Preset(
        method="average region x whole report by an MLP critic, Donsker-Varadhan bound",
        source="baseline of Liao et al. 2021, arXiv 2103.04537 [ours in form]",
        tree=_tree("pooled", unit="report", critic="mlp", objective="dv", **UNBOUNDED),
    ),
    "global-mi-infonce": Preset(
        method="average region x whole report by an MLP critic, InfoNCE bound",
        source="baseline of Liao et al. 2021, arXiv 2103.04537 [ours in form]",
        tree=_tree("pooled", unit="report", critic="mlp", objective="infonce(image_to_text=1)", **UNBOUNDED),
    ),
    "lse": _plain("lse", "soft maximum over regions", LSE_NL),
    "max": _plain("max", "best region", "standard MIL"),
    "mean": _plain("mean", "mean instance score", "average pooling"),
    "noisy-or": _plain("noisy-or", "at least one region shows it", "Maron and Lozano-Perez 1998"),
    "lse+mean": _plain("lse+mean", "soft maximum + mean instance score", LSE_NL),
    "lse+nl": _plain("lse+nl", "soft maximum + neighbourhood of the best region", LSE_NL),
}
"""The last six leave all other keys to the recipe; the others set every key of the score."""
