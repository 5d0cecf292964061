"""Make scratch places, and remove those that a killed drkeeper has left."""
