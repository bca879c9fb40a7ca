"""The YAML front end: source marks, models, expressions, the shipped library."""
