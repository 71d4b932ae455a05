"""Where the YAML files that come with mmil lie: in the package when installed, beside it in a checkout."""

from importlib import resources
from pathlib import Path

INSTALLED, IN_CHECKOUT = "_recipes", "recipes"


def shipped_files(subfolder: str = "") -> dict[str, Path]:
    """The shipped YAML files of one folder by name, not of the folders below it.

    Args:
        subfolder: such as `prompts`; empty for the recipes themselves.
    """
    package = Path(str(resources.files("mmil_cli")))
    folders = (package / INSTALLED, package.parent / IN_CHECKOUT)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in sorted((folder / subfolder).glob("*.yaml"))} if folder else {}


def find_shipped(source: str | Path, subfolder: str = "") -> tuple[Path | None, dict[str, Path]]:
    """The file meant by a path or a shipped name, if there is one, and all shipped ones to choose from."""
    shipped = shipped_files(subfolder)
    return (Path(source) if Path(source).is_file() else shipped.get(str(source))), shipped
