"""Long runs, on request and not part of CI: the program under a real scheduler, for as many minutes as that takes."""
