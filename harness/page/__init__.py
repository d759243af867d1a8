"""The page: every plot, prediction, claim and source in one HTML file that needs no network."""
