"""Many configurations in one command: what is finished is skipped, what fails is told, and nothing that was kept is lost."""
