#!/bin/bash
# Two nights of a made-up catalogue, into the bucket: `docker compose run --rm bucket docker/demo.sh BUCKET ITEMS`.
set -euo pipefail

made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
shelfmates generate --items "$2" --nights 2 --start 2026-11-20 --out "$made"
python docker/bucket.py "$1" "$made/feeds"
