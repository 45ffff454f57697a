"""The only wing that names a framework; one file each, imported when a model of its comes."""
