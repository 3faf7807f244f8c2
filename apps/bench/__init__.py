"""What the kernels take, beside what is known of them."""
