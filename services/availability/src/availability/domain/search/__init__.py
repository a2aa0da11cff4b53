"""Which properties can be booked: what is asked, what is offered, and the work on the store in between."""
