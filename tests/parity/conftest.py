from __future__ import annotations

import os

if os.environ["KERAS_BACKEND"] == "torch":
    import torch

    torch.set_num_threads(1)  # its threads wait busily: two parts of the tests would slow each other down
