"""Long runs on request, not part of CI: nights that are killed, nights under a real scheduler, a season of nights."""
