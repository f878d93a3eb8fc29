"""What the loop knows beyond its samples: forecasts, what a replica serves, how long launches take."""
