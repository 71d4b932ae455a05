"""Commands, one thin file each: parse, call the stage, print; no torch at import."""
