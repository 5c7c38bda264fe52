"""The words and the rules of the venue: pure functions and frozen records, standard library and numpy only."""
