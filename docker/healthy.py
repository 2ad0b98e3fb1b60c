"""Whether a part answers: `python docker/healthy.py URL [PART]`. PART: the address tells of several, and this one has to be healthy."""

import json
import sys
import urllib.request


def main() -> None:
    url, *parts = sys.argv[1:]
    with urllib.request.urlopen(url, timeout=5) as answer:
        told = json.load(answer) if parts else {}
    for part in parts:
        if told[part]["status"] != "healthy":
            sys.exit(f"{part} is {told[part]['status']}")


if __name__ == "__main__":
    main()
