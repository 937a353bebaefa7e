"""What a file holds: its operators, what they compute in, which of them a runtime lacks."""
