"""What Reverie remembers: facts as triplets, and which strategies worked."""
