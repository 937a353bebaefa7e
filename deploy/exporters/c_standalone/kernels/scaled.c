/* a * b / 2^31, rounded to the nearest, halves away from zero. */
static int32_t high_product(int32_t a, int32_t b) {
  const int64_t product = (int64_t)a * b;
  const int64_t half = product >= 0 ? INT64_C(1) << 30 : 1 - (INT64_C(1) << 30);
  return (int32_t)((product + half) / (INT64_C(1) << 31));
}

/* value / 2^exponent, rounded to the nearest, halves away from zero. */
static int32_t divided(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((INT64_C(1) << exponent) - 1);
  const int32_t threshold = (mask >> 1) + (value < 0);
  return (value >> exponent) + ((value & mask) > threshold);
}
