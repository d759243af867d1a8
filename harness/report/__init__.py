"""What a person reads: tables for the terminal, Markdown and CSV."""
