/* Two operands, each read along the shape of the output. */
struct pair {
  int32_t rows, length, a_step, b_step;
  struct view a, b;
  int32_t a_offset, a_multiplier, a_shift, b_offset, b_multiplier, b_shift;
  int32_t out_offset, out_multiplier, out_shift;
  int8_t low, high;
};
