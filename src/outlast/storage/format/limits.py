"""What the files of a run may hold at most. The writer refuses what the reader would refuse.

Each limit is far above what a training needs. They protect a reader from forged files, and a
user from a run that can be saved and never be opened again.
"""

from __future__ import annotations

# JSON: the header of a file of tensors, and a manifest.
JSON_BYTES = 100_000_000  # safetensors' own limit for a header
JSON_VALUES = 2_000_000  # the header of a file of 100,000 arrays has half as many
VALUES_OF_AN_ARRAY = 10  # in a header, and one more for each axis
ARRAY_NAME = 200  # characters; a longer path in the state is cut

# A state.
DEPTH = 100  # containers within containers; deeper than this it is a cycle, or an attack
INTEGER_BITS = 14_000  # about 4,200 digits: Python refuses to read more than 4,300 from a text

# Files.
FILE_BYTES = (1 << 63) - 1
NAME_BYTES = 200  # of a file or a folder; file systems take 255, and marks are added to it
PATH_BYTES = 1000  # of a file's path within the run's folder

# Logs.
KEPT_LINES = 1000  # in a resume point
KEPT_BYTES = 16 << 20  # in a resume point
REMAINING_LINES = 500  # in a resume point, once older lines went to a segment
SEGMENT_BYTES = 1 << 28  # of a segment, and so of a line
LINE_BYTES = 1 << 20  # of a line in the journal or the events
ROW_BYTES = 16 << 20  # of a line with an epoch's metrics, which may be arrays
