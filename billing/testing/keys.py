"""The fake's API key and webhook secret, shared with the product through a file only its owner can read."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the product must be configured with to speak to the fake."""

    api_key: str
    webhook_secret: str


def fresh_keys() -> Keys:
    """New keys, unlike any real one."""
    return Keys(api_key=f"sk_fake_{secrets.token_hex(12)}", webhook_secret=f"whsec_fake_{secrets.token_hex(12)}")


def keys_in(path: Path) -> Keys:
    """The keys in a file (JSON, mode 0600); made, if there is no file, once for all who ask at the same time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(fresh_keys()), file)
        try:
            os.link(aside, path)  # refuses where somebody was quicker, unlike a rename
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return Keys(**json.loads(path.read_text("utf-8")))
