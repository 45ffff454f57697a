"""What to do: the rules, as values and pure functions.

Nothing in this room reads a file, a clock or a framework; a rule is a frozen
configuration, its memory a frozen state, and ``update`` returns the next state
beside the decision. So every decision can be saved, resumed, tested with a
table and replayed.
"""
