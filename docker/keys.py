"""Writes `.env` beside this file: `.env.example` with keys made up for all that need one. `python3 docker/keys.py`.

A file that is there stays as it is: what was encrypted or stored with its keys can be read with them alone.
"""

import base64
import os
import re
import secrets
import sys
from pathlib import Path

EMPTY = re.compile(r"^([A-Z][A-Z0-9_]*)=$", re.MULTILINE)


def main() -> None:
    example, made = Path(__file__).with_name(".env.example"), Path(__file__).with_name(".env")
    text = EMPTY.sub(lambda name: f"{name[1]}={_key(name[1])}", example.read_text(encoding="utf-8"))
    try:
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        sys.exit(f"{made} is there, and stays as it is")
    print(f"keys: {len(EMPTY.findall(example.read_text(encoding='utf-8')))} made up, in {made}")


def _key(name: str) -> str:
    """Fernet's key is 32 bytes in base64, signs and all; others stand in addresses and in JSON, so they have no signs to be escaped."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode() if name.endswith("FERNET_KEY") else secrets.token_urlsafe(48)


if __name__ == "__main__":
    main()
