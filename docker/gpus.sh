#!/bin/bash
# The GPUs that are here, as Spark wants to be told of them: {"name": "gpu", "addresses": ["0", "1"]}.
set -euo pipefail

addresses=$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/.*/"&"/' | paste --serial --delimiters=,)
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
