"""Arrays that grow, and values kept once: what the packed store is made of; they know nothing of properties."""
