"""How far outputs are apart, in the unit that a precision bounds."""
