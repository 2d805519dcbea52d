"""What the programs below tests/ share: servers as child processes, and how they are spoken to."""
