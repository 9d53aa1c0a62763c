"""leadq: finds the people a call team must reach, and proves that none was lost."""
