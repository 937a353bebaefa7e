static void max_pool_2d(const struct pool_2d *p, const int8_t *in, int8_t *out) {
  for (int32_t y = 0; y < p->height; ++y) {
    for (int32_t x = 0; x < p->width; ++x) {
      const int32_t top = y * p->stride_y - p->top, left = x * p->stride_x - p->left;
      for (int32_t c = 0; c < p->channels; ++c) {
        int32_t most = INT8_MIN;
        for (int32_t row = top; row < top + p->kernel_height; ++row) {
          for (int32_t column = left; column < left + p->kernel_width; ++column) {
            if (row < 0 || row >= p->in_height || column < 0 || column >= p->in_width) continue;
            const int8_t value = in[(row * p->in_width + column) * p->channels + c];
            if (value > most) most = value;
          }
        }
        *out++ = limited(most, p->low, p->high);
      }
    }
  }
}
