"""Decode speeds that other tools measured, read from the files that those write, and kept as evidence beside our own."""
