"""How fast a model decodes on a machine: where it fits, how long it takes, how sure that is."""
