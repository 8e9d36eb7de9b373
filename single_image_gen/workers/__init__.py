"""Who does the work: processes, threads, clusters; and which share of it."""
