/* value * multiplier * 2^-(shift + 31), rounded to the nearest, halves away from zero. */
static int32_t rescaled_once(int32_t value, int64_t multiplier, int32_t shift) {
  const int64_t size = value < 0 ? -(int64_t)value : value;
  const int64_t low = size * (multiplier & INT32_MAX) >> 31;
  const int64_t whole = (size * (multiplier >> 31) + low + (INT64_C(1) << (shift - 1))) >> shift;
  const int32_t found = whole < 1 << 16 ? (int32_t)whole : 1 << 16;
  return value < 0 ? -found : found;
}
