"""What is kept of a call once it may be: audio of both sides, transcript, times of the turns; and how it is erased."""
