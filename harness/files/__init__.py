"""How anything is written: whole or not at all, as rows of named columns, in a folder or an object store."""
