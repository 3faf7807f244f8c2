"""From photos on disk to tensors: readers, depth from views, synthetic scenes."""
