static void dequantize(float scale, int32_t zero, const int8_t *in, float *out, int32_t count) {
  for (int32_t i = 0; i < count; ++i) out[i] = scale * (float)(in[i] - zero);
}
