"""Tables, pictures, films and pages: metrics.json and report.html."""
