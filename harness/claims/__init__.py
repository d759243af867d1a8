"""Checks of what an article states about machines and models: one function per kind of claim, all of it computed."""
