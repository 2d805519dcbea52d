"""What runs the SDK drivers: servers, driver processes, a relay for the 1.x protocol, and the table of results."""
