"""The demo: a real training with four callbacks, which shows what they decide and why.

``showing`` runs it, ``training`` has the model and the data, ``telling`` the texts, ``ctrl_c`` handles an
interruption, and ``crashing`` is the demo that kills a training.
"""

FOLDER, SEED, EPOCHS = "outlast-demo", 0, 100
