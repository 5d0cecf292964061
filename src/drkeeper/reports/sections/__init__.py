"""The fifteen sections of a report, each a function from a period to what JSON can say."""
