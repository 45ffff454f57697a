"""Files and nothing else: every system call that changes the disk, and what is built on it."""
