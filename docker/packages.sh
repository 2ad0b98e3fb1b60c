#!/bin/bash
# The packages of uv.lock, into .venv: `packages.sh cpu|cuda [what else uv sync is told]`.
#   cuda  all of them
#   cpu   less those that PyTorch asks a GPU for: 1.3 GB. What else it brings of CUDA, 2.8 GB, it does not load without
set -euo pipefail

case "${1:-}" in
cuda) left_out=() ;;
cpu) left_out=(cuda-bindings cuda-pathfinder nvidia-cuda-cccl nvidia-cusolver nvidia-nvtx triton) ;;
*)
    echo "packages.sh: the first argument is cpu or cuda, not '${1:-}'" >&2
    exit 2
    ;;
esac

exec uv sync --frozen --compile-bytecode "${left_out[@]/#/--no-install-package=}" "${@:2}"
