"""What we claim about speed and judgement, reproducible by one command."""
