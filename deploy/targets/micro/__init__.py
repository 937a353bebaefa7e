"""Microcontrollers: TFLM on this host, Arm's estimate, a board on a serial line."""
