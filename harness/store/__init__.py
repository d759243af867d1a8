"""What one measurement says, and where all of them are kept."""
