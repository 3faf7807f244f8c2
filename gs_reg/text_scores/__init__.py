"""How well pictures show what words say: CLIP score and direction, BLIP-VQA, TIFA; by a user's weights alone."""
