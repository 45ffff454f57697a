"""The rules: what the callbacks decide, as values and pure functions.

Nothing here reads a file, asks a clock, or imports a framework. A rule is a frozen configuration, and
what it remembers is a frozen state: ``rule.update(state, value)`` returns the next state and a decision.
So a decision can be tested with a table, saved, resumed, and replayed.
"""
