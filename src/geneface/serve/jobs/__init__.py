"""Work that takes longer than a request: its queue on the disk, a process for each job, and who watches over them."""
