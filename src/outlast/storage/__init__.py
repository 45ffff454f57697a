"""The only room that changes the disk. It knows files, not training.

Its rules:

1. A name, once given, never changes its content. A file is written under a
   temporary name in the same folder, synced, and linked to its final name.
2. The newest resume point that verifies, and whose blobs verify, is what counts.
   There is no pointer file that could tear.
3. A published file (``best.*``, ``history.csv``, ``journal.jsonl``) can always be made
   again from the newest resume point, and a resume makes it again.

Every call that changes the disk goes through ``disk.calls.calls``, so that a test
can let each of them fail.
"""
