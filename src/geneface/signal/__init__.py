"""What every stage counts and cuts alike: frames, rows and samples, spans of them, pieces of sound. Pure functions."""
