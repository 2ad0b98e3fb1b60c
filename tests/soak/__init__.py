"""Long runs on request, not part of CI: nights that are killed, and nights under a real scheduler."""
