"""`geneface serve`: a page and an API. It needs the extra [web]."""
