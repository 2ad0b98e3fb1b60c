#!/bin/bash
# Two nights of a made-up catalogue, into the bucket: `docker compose run --rm bucket docker/demo.sh BUCKET ITEMS`.
set -euo pipefail

bucket=${1:?usage: demo.sh BUCKET ITEMS} items=${2:?usage: demo.sh BUCKET ITEMS}
made=$(mktemp -d)
trap 'rm -r "$made"' EXIT
shelfmates generate --items "$items" --nights 2 --start 2026-11-20 --out "$made"
python docker/bucket.py "$bucket" "$made/feeds"
