/* value * multiplier * 2^(shift - 31), rounded twice as TensorFlow Lite's kernels do. */
static int32_t rescaled(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t shifted = (int32_t)((uint32_t)value << left);
  return divided(high_product(shifted, multiplier), left - shift);
}
