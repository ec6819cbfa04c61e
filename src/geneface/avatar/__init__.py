"""A trained person (`avatar`), its folder on disk (`folder`), and what it does besides speaking (`idle`, `poses`)."""
