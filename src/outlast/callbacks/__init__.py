"""The shell that users meet: Keras's names and hooks, one file a callback.

A callback turns a hook into a question to a rule in ``core``, and the rule's answer into acts of
its context: on the training, on files, on whoever listens.
"""
