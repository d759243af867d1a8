"""What a command line may say, of which type, and how people type it."""
