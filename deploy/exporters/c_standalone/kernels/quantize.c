/* Halves go away from zero. What is far outside the range, or no number, has no integer. */
static void quantize(float scale, int32_t zero, const float *in, int8_t *out, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    const float value = in[i] / scale;
    int32_t whole = value > -512 ? value < 512 ? (int32_t)value : 512 : -512;
    if (value - (float)whole >= 0.5f && whole < 512) ++whole;
    if (value - (float)whole <= -0.5f && whole > -512) --whole;
    out[i] = limited(zero + whole, INT8_MIN, INT8_MAX);
  }
}
