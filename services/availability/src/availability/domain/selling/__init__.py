"""What properties are sold by, in columns: rules, rates, fees and conditions, judged for thousands at once."""
