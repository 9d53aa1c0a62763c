"""A simulated claims firm: its application's database, its people and the truth about them."""
