"""From measurements here to times there: efficiencies, and the rules that carry them. Arithmetic only."""
