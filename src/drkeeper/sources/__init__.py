"""What is protected: the port and one module a kind."""
