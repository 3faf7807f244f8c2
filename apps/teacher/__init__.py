"""The small teacher that gs-reg trains itself: its data, its training, its figures."""
