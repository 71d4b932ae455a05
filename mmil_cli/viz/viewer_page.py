"""The page of the viewer: one document, and a policy that lets nothing but its own script run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from mmil_cli.viz.grounded import asset, colour_scale, film_script, sliders
from mmil_cli.viz.page import script_hash
from mmil_cli.viz.style import STYLE


@dataclass(frozen=True)
class Document:
    """The page, and the content policy to send with it."""

    html: str
    policy: str


def viewer_page(*, splits: Sequence[str], low: float, high: float) -> Document:
    """The page for a dataset of these splits, and a scale of similarities from `low` to `high`."""
    named = json.dumps(["", *splits]).replace("<", "\\u003c")  # nothing in it ends the script
    script = f"{film_script()}\nconst SPLITS = {named};\n{asset('viewer.js')}"
    style = f"{STYLE}{asset('viewer.css')}"
    body = asset("viewer.html").replace("SLIDERS", sliders()).replace("SCALE", colour_scale(low, high))
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>mmil view</title>
<style>{style}</style>
</head>
<body>
{body}<script>{script}</script>
</body>
</html>
"""
    return Document(html, policy=_policy(script))


def _policy(script: str) -> str:
    """Nothing but this page, its own script and its own server; styles are set by the script too."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {script_hash(script)}",
            "style-src 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
