"""Models and machines with their sources: by name, from a file, or from a configuration of others."""
