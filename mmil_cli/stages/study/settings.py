"""Settings of a cell or of data, read into a model, one sentence for what is wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mmil_cli.errors import UsageError, nearest

M = TypeVar("M", bound=BaseModel)


def made_settings(model: type[M], settings: Mapping[str, Any], *, given: Path | None, what: str) -> M:
    """Settings of data that a study makes itself, as `settings_of`.

    Raises:
        UsageError: a folder is given for it, too.
    """
    if given is not None:
        raise UsageError(f"--data: {what} are made, and {given} cannot take their place; leave it out")
    return settings_of(model, settings, what=what)


def settings_of(model: type[M], settings: Mapping[str, Any], *, what: str) -> M:
    """Settings as a model that forbids extra keys.

    Args:
        model: what there is to set.
        settings: by key.
        what: has the settings, for messages; plural.

    Raises:
        UsageError: telling the first key that is unknown or does not fit.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        item = error.errors()[0]
        name = ".".join(str(part) for part in item["loc"])
        known = [field.alias or key for key, field in model.model_fields.items()]
        if item["type"] == "extra_forbidden":
            raise UsageError(
                f"{what} have no setting {name!r}{nearest(name, known)}; "
                f"they have {', '.join(known) or 'none'}"
            ) from error
        raise UsageError(f"{what}: {name} is {item['input']!r}: {item['msg']}") from error
