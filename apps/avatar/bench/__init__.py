"""`gs-reg avatar bench`: the synthetic benchmark S1, the method against its rivals and without each of its parts."""
