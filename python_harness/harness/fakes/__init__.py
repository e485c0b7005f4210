"""What plays a part: both ends of the wire, crowds, bad networks, made-up events, bombs."""
